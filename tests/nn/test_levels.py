"""The levels at which a network attends: those of the sides, and no side or level that there is not."""

import pytest

from latentzoo.errors import SpecError
from latentzoo.nn.levels import attending


def test_sides_are_levels() -> None:
    assert attending(64, None, None) == [2]
    assert attending(8, None, None) == []  # none is asked for, where none is said
    assert attending(64, [8, 64], None) == [0, 3]
    assert attending(96, [24], None) == [2]
    assert attending(64, None, [3, 0]) == attending(64, [8, 64], [3, 0]) == [0, 3]
    assert attending(64, [], None) == attending(64, None, []) == []


@pytest.mark.parametrize(
    ("resolution", "sides", "levels", "fact"),
    [
        (64, [17], None, r"sides \[17\] is at no level of 64 pixels"),
        (64, [64, 3], None, r"sides \[3\]"),
        (64, [17], [2], r"sides \[17\]"),
        (32, None, [40], r"levels \[40\] is at none of 32 pixels, .* 0 to 5"),
        (32, None, [1, -1], r"levels \[-1\]"),
        (64, [8], [2], "does not fit 64 pixels"),
    ],
)
def test_what_no_level_has_is_refused(
    resolution: int, sides: list[int] | None, levels: list[int] | None, fact: str
) -> None:
    with pytest.raises(SpecError, match=fact) as caught:
        attending(resolution, sides, levels)
    assert "\n" not in str(caught.value)
