"""Trees over atoms along which molecules are made whole: who is placed next to whom.

Inside a molecule the links are those of a minimum spanning tree of the numbers of bonds between atoms: an
atom hangs on the one that is fewest bonds away, whatever the molecule's shape. Between molecules there is one
link, of the two atoms that are nearest to each other in a reference structure.

Hand-written since a CV in a box needs it in every step of the dynamics, and of its own atoms alone; mdtraj's
image_molecules takes whole trajectories.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, dijkstra, minimum_spanning_tree

from aecv.ground.arrays import FloatArray, IntArray
from aecv.numerics.geometry.lattice import update_nearest


@dataclass(frozen=True, kw_only=True, eq=False)
class SpanningTree:
    """An order of atoms in which every one comes after its parent.

    Attributes:
        atoms: in that order, shape (n,).
        parents: of each, -1 for one that stays where it is, shape (n,).
    """

    atoms: IntArray
    parents: IntArray

    @property
    def links(self) -> IntArray:
        """Parent and child of every link, shape (n - n_roots, 2)."""
        has_parent = self.parents >= 0
        return np.stack([self.parents[has_parent], self.atoms[has_parent]], axis=1)

    @cached_property
    def paths(self) -> list[list[int]]:
        """The tree as paths from parent to child; all but the first begin with an atom of an earlier one."""
        paths: list[list[int]] = []
        ends: dict[int, list[int]] = {}
        for atom, parent in zip(self.atoms.tolist(), self.parents.tolist(), strict=True):
            path = ends.pop(parent, None)
            if path is None:
                path = [parent] if parent >= 0 else []
                paths.append(path)
            path.append(atom)
            ends[atom] = path
        return paths

    def leading(self, n_atoms: int) -> "SpanningTree":
        """The tree of the first atoms alone; one that hangs on a later atom hangs on that one's parent."""
        kept = self.atoms < n_atoms
        if kept.all():
            return self
        above = {-1: -1}  # of every atom the nearest one that stays, itself or an ancestor
        parents = []
        for atom, parent in zip(self.atoms.tolist(), self.parents.tolist(), strict=True):
            parents.append(above[parent])
            above[atom] = atom if atom < n_atoms else above[parent]
        return SpanningTree(atoms=self.atoms[kept], parents=np.array(parents, dtype=np.int64)[kept])

    def among(self, atoms: IntArray) -> "SpanningTree":
        """The same of places in a list of atoms, which has to hold all of the tree's."""
        places = np.full(int(max(self.atoms.max(), atoms.max())) + 1, -1)
        places[atoms] = np.arange(len(atoms))
        own = np.where(self.parents >= 0, places[self.parents], -1)
        return SpanningTree(atoms=places[self.atoms], parents=own)


def tree_of_some(atoms: ArrayLike, bonds: IntArray, positions: FloatArray, box: FloatArray) -> SpanningTree:
    """The tree of some atoms alone; all have the first one as root.

    Args:
        atoms: the chosen ones, shape (n,).
        bonds: pairs of bonded atoms, of all there are, shape (n_bonds, 2).
        positions: of all atoms in the reference structure, molecules cut or not, shape (N, 3) [nm].
        box: reduced box vectors, shape (3, 3) [nm]; zeros for none.
    """
    chosen = np.asarray(atoms, dtype=np.int64)
    forest = _forest(*_shortest_paths(chosen, bonds, len(positions)), len(positions))
    _, molecules = connected_components(forest, directed=False)
    links = _links_between(molecules, chosen[0], chosen, positions, box)
    return _ordered(forest, links, chosen[:1], n_atoms=len(positions))


def tree_of_all(
    tree: SpanningTree, bonds: IntArray, linked: IntArray, positions: FloatArray, box: FloatArray
) -> SpanningTree:
    """The tree of all atoms that contains another one.

    Args:
        tree: all of whose links are kept; its root is the root.
        bonds, positions, box: as in `tree_of_some`.
        linked: atoms whose molecules are linked with the tree; any other stays where its first atom is.
    """
    n_atoms = len(positions)
    every = np.concatenate([tree.links, np.asarray(bonds, dtype=np.int64).reshape(-1, 2)])
    # shorter than any bond, all links of the tree come into the minimum spanning tree
    lengths = np.where(np.arange(len(every)) < len(tree.links), 0.5, 1.0)
    forest = _forest(every, lengths, n_atoms)
    _, molecules = connected_components(forest, directed=False)
    near = np.flatnonzero(np.isin(molecules, molecules[np.union1d(linked, tree.atoms)]))
    links = _links_between(molecules, tree.atoms[0], near, positions, box)
    is_first = np.zeros(n_atoms, dtype=bool)
    is_first[np.unique(molecules, return_index=True)[1]] = True
    is_first[near] = False
    return _ordered(
        forest, links, np.concatenate([tree.atoms[:1], np.flatnonzero(is_first)]), n_atoms=n_atoms
    )


def molecules_of(bonds: IntArray, n_atoms: int) -> IntArray:
    """Number of the molecule that each atom belongs to, shape (n_atoms,)."""
    pairs = np.asarray(bonds, dtype=np.int64).reshape(-1, 2)
    return np.asarray(connected_components(_graph(pairs, np.ones(len(pairs)), n_atoms), directed=False)[1])


def _graph(pairs: IntArray, values: FloatArray, n_atoms: int) -> csr_matrix:
    return coo_matrix((values, (pairs[:, 0], pairs[:, 1])), shape=(n_atoms, n_atoms)).tocsr()


def _shortest_paths(chosen: IntArray, bonds: IntArray, n_atoms: int) -> tuple[IntArray, FloatArray]:
    """Pairs of chosen atoms and the numbers of bonds between them, enough for a minimum spanning tree.

    Every atom belongs to the chosen one that is nearest to it; a bond between two such neighbourhoods makes a
    pair of their owners. Source: Mehlhorn, Inf. Process. Lett. 27, 125 (1988).
    """
    pairs = np.asarray(bonds, dtype=np.int64).reshape(-1, 2)
    graph = _graph(pairs, np.ones(len(pairs)), n_atoms)
    distances, _, owners = dijkstra(
        graph, directed=False, indices=chosen, unweighted=True, min_only=True, return_predecessors=True
    )
    ends = owners[pairs]
    between = (ends >= 0).all(axis=1) & (ends[:, 0] != ends[:, 1])
    lengths = distances[pairs[between]].sum(axis=1) + 1.0
    return ends[between].astype(np.int64), lengths


def _forest(links: IntArray, lengths: FloatArray, n_atoms: int) -> csr_matrix:
    """The minimum spanning tree of every molecule."""
    pairs = np.sort(links, axis=1)
    order = np.lexsort((lengths, pairs[:, 1], pairs[:, 0]))
    # of a pair that comes more than once the shortest, since a sparse matrix would add them up
    pairs, kept = np.unique(pairs[order], axis=0, return_index=True)
    return minimum_spanning_tree(_graph(pairs, lengths[order][kept], n_atoms))


def _links_between(
    molecules: IntArray, root: int, near: IntArray, positions: FloatArray, box: FloatArray
) -> IntArray:
    """Parent and child of one link per molecule but the root's: each time the nearest one that is left joins.

    Args:
        molecules: of every atom, shape (N,).
        near: atoms that may be linked.
    """
    links: list[tuple[int, int]] = []
    joined = near[molecules[near] == molecules[root]]
    others = near[molecules[near] != molecules[root]]
    squares, nearest = np.full(len(others), np.inf), np.full(len(others), -1)
    while len(others):
        update_nearest(positions, box, joined, others, squares, nearest)
        best = int(np.argmin(squares))
        links.append((int(nearest[best]), int(others[best])))
        comes = molecules[others] == molecules[others[best]]
        joined = others[comes]
        others, squares, nearest = others[~comes], squares[~comes], nearest[~comes]
    return np.array(links, dtype=np.int64).reshape(-1, 2)


def _ordered(forest: csr_matrix, links: IntArray, roots: IntArray, *, n_atoms: int) -> SpanningTree:
    """All trees of a forest with links between them, from their roots, each breadth first."""
    inner, hung = forest.tocoo(), np.stack([np.full(len(roots), n_atoms), roots], axis=1)
    pairs = np.concatenate([np.stack([inner.row, inner.col], axis=1), links, hung])
    # one node more, on which the roots hang
    graph = _graph(pairs, np.ones(len(pairs)), n_atoms + 1)
    order, parents = breadth_first_order(graph, n_atoms, directed=False)
    atoms = order[1:].astype(np.int64)
    above = parents[atoms].astype(np.int64)
    return SpanningTree(atoms=atoms, parents=np.where(above == n_atoms, -1, above))
