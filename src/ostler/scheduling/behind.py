"""How much stands behind a task: those that wait for it in the end, each counted once.

A task that waits for several stands behind one of them, which its caller names: so the tasks that wait for others make
trees, with what holds them all at the root. A tree knows its root and its size. When a root has gone each task behind
it holds its own: the tree falls into parts, and of two parts only the smaller one is walked, for all it takes to know
which that is are steps in turn on both. In a chain, and in a row of tasks behind one, that is one step.

Invariants: each task in a tree knows it; what stands alone is in none. Needs make no circle, so links do not either.
Cost: O(smaller part) for a link that is made or ends; O(1) to ask.
"""

from collections.abc import Iterator


class Tree:
    """A task and all that stands behind it."""

    __slots__ = ("root", "size")

    def __init__(self, root: str, size: int) -> None:
        self.root = root
        self.size = size


class Behind:
    """Who stands behind whom."""

    def __init__(self) -> None:
        self._before: dict[str, str] = {}
        """Task -> the one it stands behind."""
        self._next: dict[str, dict[str, None]] = {}
        """Task -> those that stand right behind it."""
        self._trees: dict[str, Tree] = {}
        """Task -> its tree."""
        self._by_root: dict[str, Tree] = {}

    def stand(self, task_id: str, before: str | None) -> None:
        """Have a task, with all behind it, stand behind another one, or behind none."""
        known = self._before.get(task_id)
        if known == before:
            return
        if known is not None:
            self._cut(task_id, known)
        if before is not None:
            self._link(task_id, before)

    def size(self, task_id: str) -> int:
        """How many stand behind a task that stands behind none; 0 of any other."""
        tree = self._by_root.get(task_id)
        return 0 if tree is None else tree.size - 1

    def roots(self) -> Iterator[tuple[str, int]]:
        """Tasks that stand behind none, and how many stand behind each; those with nobody behind are left out."""
        return ((root, tree.size - 1) for root, tree in self._by_root.items())

    def __len__(self) -> int:
        """How many stand behind another one."""
        return len(self._before)

    def _link(self, task_id: str, before: str) -> None:
        own = self._trees.get(task_id) or Tree(task_id, 1)
        other = self._trees.get(before) or Tree(before, 1)
        self._by_root.pop(own.root, None)
        smaller, larger = (own, other) if own.size <= other.size else (other, own)
        for name in self._walk(smaller.root):
            self._trees[name] = larger
        if larger.size == 1:
            self._trees[larger.root] = larger
        self._by_root.pop(other.root, None)
        larger.root, larger.size = other.root, larger.size + smaller.size
        self._by_root[larger.root] = larger
        self._before[task_id] = before
        self._next.setdefault(before, {})[task_id] = None

    def _cut(self, task_id: str, before: str) -> None:
        del self._before[task_id]
        behind = self._next[before]
        del behind[task_id]
        if not behind:
            del self._next[before]
        tree = self._trees[task_id]
        part = self._smaller(task_id, tree.root)
        del self._by_root[tree.root]
        rest = Tree(part[0], len(part))
        for name in part:
            self._trees[name] = rest
        tree.size -= rest.size
        tree.root = tree.root if rest.root == task_id else task_id
        for one in (tree, rest):
            if one.size > 1:
                self._by_root[one.root] = one
            else:
                del self._trees[one.root]

    def _smaller(self, one: str, other: str) -> list[str]:
        """The part with fewer tasks of the two that begin at these, its root first."""
        found: tuple[list[str], list[str]] = ([], [])
        walks = self._walk(one), self._walk(other)
        while True:
            for walk, names in zip(walks, found, strict=True):
                name = next(walk, None)
                if name is None:
                    return names
                names.append(name)

    def _walk(self, root: str) -> Iterator[str]:
        """A task and all behind it, each after the one before it."""
        yield root
        rows = [iter(self._next.get(root, ()))]
        while rows:
            name = next(rows[-1], None)
            if name is None:
                rows.pop()
                continue
            yield name
            behind = self._next.get(name)
            if behind is not None:
                rows.append(iter(behind))
