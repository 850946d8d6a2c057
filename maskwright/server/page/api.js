// Requests to the server, and its errors as sentences.

const TOKEN = "maskwright-token";

/** An answer that is no success. `message` is what the server said, in words. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

let askToken = () => Promise.resolve(null);

/** Name the function that asks the user for the token: it gives the token, or null where the user would not say. */
export function onTokenNeeded(ask) {
  askToken = ask;
}

/**
 * Send a form, or fetch where there is none.
 * @param {string} path  the path at this server
 * @param {{form?: FormData, accept?: string, signal?: AbortSignal, progress?: (share: number) => void,
 *   busy?: (seconds: number) => void}} wishes  `progress` hears which share of the upload is done, `busy` how long
 *   the server asked to wait
 * @returns {Promise<{blob: Blob, header: (name: string) => string | null}>}
 */
export async function send(path, wishes = {}) {
  for (let attempt = 0; ; attempt++) {
    const answer = await once(path, wishes);
    if (answer.status >= 200 && answer.status < 300) return answer;
    if (answer.status === 401 && attempt < 3) {
      const token = await askToken();
      if (token !== null) {
        sessionStorage.setItem(TOKEN, token);
        continue;
      }
    }
    const wait = Number(answer.header("Retry-After"));
    if ((answer.status === 429 || answer.status === 503) && wait > 0 && attempt < 5) {
      wishes.busy?.(wait);
      await sleep(wait * 1000, wishes.signal);
      continue;
    }
    throw new ApiError(await inWords(answer), answer.status);
  }
}

/** A request for JSON. */
export async function sendForJson(path, wishes = {}) {
  const { blob } = await send(path, { ...wishes, accept: "application/json" });
  return JSON.parse(await blob.text());
}

// XMLHttpRequest, because fetch does not say how far an upload is.
function once(path, { form, accept, signal, progress }) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new DOMException("stopped", "AbortError"));
    const request = new XMLHttpRequest();
    request.open(form ? "POST" : "GET", path);
    request.responseType = "blob";
    if (accept) request.setRequestHeader("Accept", accept);
    const token = sessionStorage.getItem(TOKEN);
    if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
    const stop = () => request.abort();
    signal?.addEventListener("abort", stop, { once: true });
    const done = () => signal?.removeEventListener("abort", stop);
    if (progress) request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onload = () => {
      done();
      resolve({ status: request.status, blob: request.response, header: (name) => request.getResponseHeader(name) });
    };
    request.onerror = () => {
      done();
      reject(new ApiError("The server does not answer. Is it still running?", 0));
    };
    request.onabort = () => {
      done();
      reject(new DOMException("stopped", "AbortError"));
    };
    request.send(form);
  });
}

async function inWords({ blob, status }) {
  try {
    const said = JSON.parse(await blob.text());
    if (said.detail) return said.detail[0].toUpperCase() + said.detail.slice(1);
  } catch {
    // no JSON: said below
  }
  return `The server answered ${status} and gave no reason.`;
}

function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    });
  });
}
