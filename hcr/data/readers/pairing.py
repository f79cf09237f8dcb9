"""Which arrays or files belong together, by their names: `x_train` and `y_train`, `k49-imgs` and `k49-labels`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from hcr.config.errors import DataError
from hcr.config.text import printable
from hcr.data.raw import Side

Role = Literal["images", "labels", "groups"]

ROLES: Mapping[str, Role] = {
    **dict.fromkeys(("images", "image", "imgs", "img", "x", "pixels", "data"), "images"),
    **dict.fromkeys(("labels", "label", "y", "targets", "target"), "labels"),
    **dict.fromkeys(("groups", "group", "writers", "writer"), "groups"),
}
SIDES: Mapping[str, Side] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "t10k"), "test"),
}
ORDER: tuple[Side, ...] = ("train", "val", "test")
VAGUE = "data"  # also a word for anything else, so that another word for images comes first
MOST_LISTED, LONGEST_NAME = 8, 40  # names in a message, and characters of a name


@dataclass(frozen=True)
class Named:
    """What a name says.

    Attributes:
        family: the other words, such as `emnist letters`; the same for all names of a data set.
        side: None if the name gives no side.
    """

    role: Role
    side: Side | None
    family: str
    is_vague: bool = False


@dataclass(frozen=True)
class Group:
    """Names that form a data set: for each side, the name of each role."""

    family: str
    has_sides: bool
    names: Mapping[Side, Mapping[Role, str]]

    @property
    def is_complete(self) -> bool:
        """True if there are images to train on, and labels for all images."""
        return "train" in self.names and all({"images", "labels"} <= set(found) for found in self.names.values())

    @property
    def listed(self) -> list[str]:
        """All names, images first."""
        roles: tuple[Role, ...] = ("images", "labels", "groups")
        return [self.names[s][r] for s in ORDER if s in self.names for r in roles if r in self.names[s]]


def named(name: str) -> Named | None:
    """What `name` says, or None if it has no word for images, labels or groups, or words for more than one of these."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)  # trainX
    text = re.sub(r"^([xy])(train|test|val)$", r"\1_\2", text.lower())  # xtrain
    text = re.sub(r"^(train|test|val)([xy])$", r"\1_\2", text)
    words = [word for word in re.split(r"[^0-9a-z]+", text) if word]
    found = {word for word in words if word in ROLES}
    if len({ROLES[word] for word in found}) > 1:
        found.discard(VAGUE)
    roles = {ROLES[word] for word in found}
    sides = [word for word in words if word in SIDES]
    if len(roles) != 1:
        return None
    family = " ".join(word for word in words if word not in {*found, *sides[-1:], VAGUE})
    return Named(roles.pop(), SIDES[sides[-1]] if sides else None, family, is_vague=found == {VAGUE})


def grouped(names: Iterable[str], source: str, what: str) -> list[Group]:
    """The data sets that `names` form, complete or not, in order of their families.

    Args:
        source: the file or folder, for messages.
        what: "array" or "file", for messages.

    Raises:
        DataError: two names say the same.
    """
    slots: dict[tuple[str, bool], dict[Side, dict[Role, list[str]]]] = {}
    for name in sorted(names):
        said = named(name)
        if said is not None:
            sides = slots.setdefault((said.family, said.side is not None), {})
            sides.setdefault(said.side or "train", {}).setdefault(said.role, []).append(name)
    found = []
    for (family, has_sides), sides in sorted(slots.items()):
        chosen = {
            side: {role: _only(held, f"the {role} of {side}", source, what) for role, held in roles.items()}
            for side, roles in sides.items()
        }
        found.append(Group(family, has_sides, chosen))
    return found


def shown(name: str) -> str:
    """`name`, which is untrusted, for a message: printable, at most LONGEST_NAME characters."""
    plain = printable(name)
    return f"`{plain if len(plain) <= LONGEST_NAME else plain[:LONGEST_NAME] + '…'}`"


def listed(texts: Iterable[str], none: str) -> str:
    """At most MOST_LISTED of `texts`, and how many more there are; `none` if there are none."""
    every = list(texts)
    more = f" and {len(every) - MOST_LISTED} more" if len(every) > MOST_LISTED else ""
    return ", ".join(every[:MOST_LISTED]) + more if every else none


def _only(names: list[str], role: str, source: str, what: str) -> str:
    clear = [name for name in names if not (said := named(name)) or not said.is_vague] or names
    if len(clear) > 1:
        raise DataError(f"{source}: expected one {what} with {role}, got {listed(map(shown, clear), '')}; keep one")
    return clear[0]
