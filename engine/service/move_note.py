"""What is told of a move from one generation of state into another, and what stands in its way."""

import msgspec


class NotReady(Exception):
    """The deployment cannot be moved as it is. `problems`: a line each, with what to do."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Note(msgspec.Struct, frozen=True):
    """What a generation that is not in service says of the move.

    Attributes:
        role: "from" or "into".
        before, after: the two key prefixes.
        topic: of the new one.
        partitions: of that topic.
        shards: of the old one; 0 until that is known.
    """

    role: str
    before: str
    after: str
    topic: str
    partitions: int
    shards: int = 0

    def text(self) -> str:
        """As it is stored."""
        return msgspec.json.encode(self).decode()


def read_note(text: str) -> Note | None:
    """What `Note.text` gave; None where nothing was said."""
    return msgspec.json.decode(text, type=Note) if text else None
