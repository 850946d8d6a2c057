import numpy as np
import pytest

from maskwright.errors import RangeError, ShapeError
from maskwright.refine import split_skin


def person(plane, top, left, scale=1):
    """Draw a head of 20 by 16 with a neck, shoulders, an arm and a foot; hair above and beside the forehead."""
    skin, hair = plane

    def draw(bits, rows, columns):
        bits[top + rows[0] * scale : top + rows[1] * scale, left + columns[0] * scale : left + columns[1] * scale] = 1

    draw(hair, (0, 6), (10, 30))
    draw(hair, (6, 12), (10, 12))
    draw(hair, (6, 12), (28, 30))
    draw(skin, (6, 28), (12, 28))  # face
    draw(skin, (28, 34), (16, 24))  # neck
    draw(skin, (34, 40), (0, 40))  # shoulders
    draw(skin, (40, 70), (0, 6))  # an arm
    draw(skin, (80, 86), (10, 20))  # a foot


@pytest.fixture
def plane():
    return np.zeros((2, 200, 300), np.float32)


def test_the_face_is_the_head_and_the_rest_is_body(plane):
    person(plane, 10, 20)
    face, body = split_skin(*plane)
    assert face[16:38, 32:48].all()
    assert not face[44:].any()
    assert body[44:].sum() == plane[0][44:].sum() > 0


def test_the_two_add_up_to_the_skin(plane):
    person(plane, 10, 20)
    skin = plane[0] * np.random.default_rng(1).uniform(0.1, 1, plane[0].shape).astype(np.float32)
    face, body = split_skin(skin, plane[1])
    assert np.array_equal(face + body, skin)
    assert not (face * body).any()


def test_each_of_several_people_has_a_face(plane):
    person(plane, 10, 20)
    person(plane, 40, 150, scale=2)
    face, _ = split_skin(*plane)
    assert face[16:38, 32:48].all()
    assert face[52:96, 174:206].all()
    assert not face[44:50].any()
    assert not face[110:].any()


def test_a_face_parted_by_dark_glasses_is_one_face(plane):
    person(plane, 10, 20)
    plane[0][22:26] = 0
    face, _ = split_skin(*plane)
    assert face[16:22, 32:48].all()
    assert face[26:30, 32:48].all()


def test_a_face_begins_narrow_below_a_parting(plane):
    person(plane, 10, 20)
    plane[1][16:20, 32:39] = 1
    plane[1][16:20, 41:48] = 1
    plane[0][plane[1] > 0] = 0  # skin is 2 pixels wide for 4 rows
    face, _ = split_skin(*plane)
    assert face[20:36, 32:48].all()


def test_skin_a_little_below_the_hair_is_a_face_and_far_below_is_not(plane):
    skin, hair = plane
    hair[10:20, 100:120] = 1
    skin[26:40, 102:118] = 1
    face, body = split_skin(skin, hair)
    assert face.sum() == skin.sum()
    skin[:] = 0
    skin[60:74, 102:118] = 1
    face, body = split_skin(skin, hair)
    assert not face.any()
    assert np.array_equal(body, skin)


def test_a_hand_beside_the_hair_is_no_face(plane):
    person(plane, 10, 20)
    plane[0][90:100, 250:260] = 1
    _, body = split_skin(*plane)
    assert body[90:100, 250:260].all()


def test_crumbs_of_hair_start_no_face(plane):
    person(plane, 10, 20)
    plane[1][88:90, 32:33] = 1  # on the foot
    face, _ = split_skin(*plane)
    assert not face[80:].any()


def test_soft_edges_go_with_what_they_surround(plane):
    person(plane, 10, 20)
    soft = plane[0].copy()
    soft[20:30, 48:50] = 0.3  # a cheek's edge
    soft[96:98, 30:40] = 0.3  # a foot's
    face, body = split_skin(soft, plane[1])
    assert (face[20:30, 48:50] == np.float32(0.3)).all()
    assert (body[96:98, 30:40] == np.float32(0.3)).all()


@pytest.mark.parametrize("which", [0, 1])
def test_without_hair_or_without_skin_there_is_no_face(plane, which):
    person(plane, 10, 20)
    plane[which] = 0
    face, body = split_skin(*plane)
    assert not face.any()
    assert np.array_equal(body, plane[0])


def test_a_large_picture_is_divided_like_a_small_one(plane):
    person(plane, 10, 20)
    large = plane.repeat(6, axis=1).repeat(6, axis=2)  # 1200 x 1800
    face, _ = split_skin(*large)
    small, _ = split_skin(*plane)
    assert np.mean(face != small.repeat(6, axis=0).repeat(6, axis=1)) < 0.001


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 700), (600, 2)])
def test_any_size(size_hw):
    ones = np.ones(size_hw, np.float32)
    face, body = split_skin(ones, ones)
    assert np.array_equal(face + body, ones)


def test_booleans_are_masks():
    face, body = split_skin(np.ones((4, 4), bool), np.zeros((4, 4), bool))
    assert face.dtype == body.dtype == np.float32
    assert body.all()


def test_masks_of_two_sizes_are_refused(plane):
    with pytest.raises(ShapeError, match=r"skin and hair must be of one size, got \(200, 300\) and \(4, 4\)"):
        split_skin(plane[0], np.zeros((4, 4)))


def test_values_beyond_one_are_refused(plane):
    with pytest.raises(RangeError):
        split_skin(plane[0] * 2 + 3, plane[1])
