"""Joint names, bones and left-right mirroring, by explicit tables.

Joint names are the short lower-case names of the field (`pelv`, `lkne`, ...), where a leading `l`
or `r` means the person's own left or right. The same name in two conventions is not exactly the
same physical point (hips, necks and heads differ by centimetres; `spi1` to `spi4` are numbered anew
in each).
"""

import dataclasses

CENTRAL_JOINTS = (
    'pelv', 'spi0', 'spin', 'spi1', 'spi2', 'spi3', 'spi4', 'thor', 'neck', 'head', 'htop', 'nose')
SIDED_JOINTS = (
    'eye', 'ear', 'cla', 'sho', 'elb', 'wri', 'han', 'thu', 'fin', 'fi2', 'hip', 'kne', 'ank',
    'foo', 'toe')
_MIRROR_PARTNER = {
    **{name: name for name in CENTRAL_JOINTS},
    **{f'l{name}': f'r{name}' for name in SIDED_JOINTS},
    **{f'r{name}': f'l{name}' for name in SIDED_JOINTS}}
# All names that a joint can have.
VOCABULARY = tuple(_MIRROR_PARTNER)


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """Ordered joints and the bones between them.

    Args:
        joint_names: Tuple of distinct names out of the field's vocabulary (see `mirror_name`).
        edges: Tuple of pairs of joint indices, (parent, child) where the bones form a tree.
    """
    joint_names: tuple
    edges: tuple

    def __post_init__(self):
        if len(set(self.joint_names)) != len(self.joint_names) or not self.joint_names:
            raise ValueError(
                '`joint_names` must be distinct and not empty. '
                f'Received: joint_names={self.joint_names}')
        for edge in self.edges:
            if len(edge) != 2 or not all(0 <= i < len(self.joint_names) for i in edge):
                raise ValueError(
                    f'`edges` must be pairs of indices below {len(self.joint_names)}. '
                    f'Received: {edge}')

    @property
    def n_joints(self):
        """Number of joints."""
        return len(self.joint_names)

    @property
    def mirror_mapping(self):
        """Tuple of ints: joint i of the mirrored person is joint `mirror_mapping[i]` before."""
        return tuple(self.index(mirror_name(name)) for name in self.joint_names)

    def index(self, name):
        """Index of a joint.

        Raises:
            ValueError: If the skeleton has no such joint.
        """
        if name not in self.joint_names:
            raise ValueError(
                f'`name` must be a joint of this skeleton, one of {self.joint_names}. '
                f'Received: name={name!r}')
        return self.joint_names.index(name)

    def restricted_to(self, kept_names):
        """The skeleton of the joints in `kept_names`, in this skeleton's order.

        A bone through a dropped joint is reconnected to the nearest kept ancestor, so that what
        was connected stays connected where the bones form a tree.

        Args:
            kept_names: Collection of names. Names that this skeleton lacks are ignored.
        """
        names = tuple(name for name in self.joint_names if name in kept_names)
        parents = {}
        for parent, child in self.edges:
            parents.setdefault(child, parent)
        edges = []
        for parent, child in self.edges:
            while self.joint_names[parent] not in names and parent in parents:
                parent = parents[parent]
            edge_names = self.joint_names[parent], self.joint_names[child]
            if all(name in names for name in edge_names):
                edges.append(tuple(names.index(name) for name in edge_names))
        return Skeleton(names, tuple(edges))


def mirror_name(name):
    """Name of the joint on the other side of the body; central joints are their own partner.

    Raises:
        ValueError: If `name` is not in the vocabulary.
    """
    if name not in _MIRROR_PARTNER:
        raise ValueError(
            f'`name` must be one of {sorted(_MIRROR_PARTNER)}. Received: name={name!r}')
    return _MIRROR_PARTNER[name]


def from_paths(joint_names, edge_paths):
    """Builds a skeleton from text.

    Args:
        joint_names: Names separated by spaces.
        edge_paths: Bones as paths separated by spaces, e.g. `'neck-lsho-lelb neck-head'`; each
            hyphen is a bone from parent to child.
    """
    names = tuple(joint_names.split())
    edges = []
    for path in edge_paths.split():
        vertices = [names.index(vertex) for vertex in path.split('-')]
        edges += zip(vertices[:-1], vertices[1:])
    return Skeleton(names, tuple(edges))


# The joints of the default model.
METRO_24 = from_paths(
    'pelv spin neck head htop nose leye reye lear rear lsho rsho lelb relb lwri rwri '
    'lhip rhip lkne rkne lank rank ltoe rtoe',
    'pelv-spin-neck-head-htop head-nose nose-leye-lear nose-reye-rear '
    'neck-lsho-lelb-lwri neck-rsho-relb-rwri '
    'pelv-lhip-lkne-lank-ltoe pelv-rhip-rkne-rank-rtoe')

_MPI_INF_3DHP_17 = from_paths(
    'htop neck rsho relb rwri lsho lelb lwri rhip rkne rank lhip lkne lank pelv spin head',
    'neck-htop spin-neck neck-rsho-relb-rwri neck-lsho-lelb-lwri '
    'pelv-rhip-rkne-rank pelv-lhip-lkne-lank pelv-spin neck-head')

CONVENTIONS = {
    'h36m_17': from_paths(
        'pelv rhip rkne rank lhip lkne lank spin neck head htop lsho lelb lwri rsho relb rwri',
        'pelv-rhip-rkne-rank pelv-lhip-lkne-lank pelv-spin-neck-head-htop '
        'neck-lsho-lelb-lwri neck-rsho-relb-rwri'),
    'h36m_25': from_paths(
        'rhip rkne rank rfoo rtoe lhip lkne lank lfoo ltoe spin neck head htop '
        'lsho lelb lwri lthu lfin rsho relb rwri rthu rfin pelv',
        'pelv-rhip-rkne-rank-rfoo-rtoe pelv-lhip-lkne-lank-lfoo-ltoe pelv-spin-neck-head-htop '
        'neck-lsho-lelb-lwri-lthu lwri-lfin neck-rsho-relb-rwri-rthu rwri-rfin'),
    'h36m_32': from_paths(
        'pelv rhip rkne rank rfoo rtoe lhip lkne lank lfoo ltoe spi0 spin neck head htop '
        'lcla lsho lelb lwri lhan lthu lfin lfi2 rcla rsho relb rwri rhan rthu rfin rfi2',
        'pelv-rhip-rkne-rank-rfoo-rtoe pelv-lhip-lkne-lank-lfoo-ltoe '
        'pelv-spi0-spin-neck-head-htop '
        'spin-lcla-lsho-lelb-lwri-lhan-lthu lwri-lfin-lfi2 '
        'spin-rcla-rsho-relb-rwri-rhan-rthu rwri-rfin-rfi2'),
    'mpi_inf_3dhp_17': _MPI_INF_3DHP_17,
    'mpi_inf_3dhp_28': from_paths(
        'spi3 spi4 spi2 spin pelv neck head htop lcla lsho lelb lwri lhan rcla rsho relb rwri rhan '
        'lhip lkne lank lfoo ltoe rhip rkne rank rfoo rtoe',
        'spi2-spi3-spi4 spin-spi2 pelv-spin spi4-neck-head-htop '
        'neck-lcla-lsho-lelb-lwri-lhan neck-rcla-rsho-relb-rwri-rhan '
        'pelv-lhip-lkne-lank-lfoo-ltoe pelv-rhip-rkne-rank-rfoo-rtoe'),
    'margipose_17': _MPI_INF_3DHP_17,
    'muco_21': from_paths(
        'htop neck rsho relb rwri lsho lelb lwri rhip rkne rank lhip lkne lank pelv spin head '
        'rhan lhan rtoe ltoe',
        'neck-htop spin-neck neck-rsho-relb-rwri neck-lsho-lelb-lwri '
        'pelv-rhip-rkne-rank pelv-lhip-lkne-lank pelv-spin neck-head '
        'rwri-rhan lwri-lhan rank-rtoe lank-ltoe'),
    'mpii_16': from_paths(
        'rank rkne rhip lhip lkne lank pelv thor neck htop rwri relb rsho lsho lelb lwri',
        'rkne-rank rhip-rkne pelv-rhip pelv-lhip-lkne-lank pelv-thor-neck-htop '
        'relb-rwri rsho-relb neck-rsho neck-lsho-lelb-lwri'),
    'coco_17': from_paths(
        'nose leye reye lear rear lsho rsho lelb relb lwri rwri lhip rhip lkne rkne lank rank',
        'lank-lkne-lhip rank-rkne-rhip lhip-rhip lsho-lhip rsho-rhip lsho-rsho '
        'lsho-lelb rsho-relb lelb-lwri relb-rwri leye-reye nose-leye nose-reye '
        'leye-lear reye-rear lear-lsho rear-rsho'),
    'coco_19': from_paths(
        'neck nose pelv lsho lelb lwri lhip lkne lank rsho relb rwri rhip rkne rank '
        'leye lear reye rear',
        'pelv-neck-nose neck-lsho-lelb-lwri neck-rsho-relb-rwri '
        'pelv-lhip-lkne-lank pelv-rhip-rkne-rank nose-leye-lear nose-reye-rear'),
    'openpose_18': from_paths(
        'nose neck rsho relb rwri lsho lelb lwri rhip rkne rank lhip lkne lank '
        'reye leye rear lear',
        'neck-nose-reye-rear nose-leye-lear neck-rsho-relb-rwri neck-lsho-lelb-lwri '
        'neck-rhip-rkne-rank neck-lhip-lkne-lank'),
    'lsp_14': from_paths(
        'rank rkne rhip lhip lkne lank rwri relb rsho lsho lelb lwri neck htop',
        'neck-htop neck-rsho-relb-rwri neck-lsho-lelb-lwri '
        'neck-rhip-rkne-rank neck-lhip-lkne-lank'),
    'smpl_24': from_paths(
        'pelv lhip rhip spi1 lkne rkne spi2 lank rank spi3 ltoe rtoe neck lcla rcla head '
        'lsho rsho lelb relb lwri rwri lhan rhan',
        'pelv-lhip pelv-rhip pelv-spi1 lhip-lkne rhip-rkne spi1-spi2 lkne-lank rkne-rank '
        'spi2-spi3 lank-ltoe rank-rtoe spi3-neck spi3-lcla spi3-rcla neck-head '
        'lcla-lsho rcla-rsho lsho-lelb rsho-relb lelb-lwri relb-rwri lwri-lhan rwri-rhan'),
    'humaneva_15': from_paths(
        'pelv thor lsho lelb lwri rsho relb rwri lhip lkne lank rhip rkne rank head',
        'pelv-thor-lsho-lelb-lwri thor-rsho-relb-rwri pelv-lhip-lkne-lank pelv-rhip-rkne-rank '
        'thor-head')}

# Where a convention has the same point under another name: {convention: {its name: our name}}.
# HumanEva's head is the top of the head, its thorax is about where others have the neck.
_SYNONYMS = {'smpl_24': {'spi2': 'spin'}, 'humaneva_15': {'head': 'htop', 'thor': 'neck'}}


def vocabulary_names(convention):
    """Names of the joints of a convention as models name them, which `convention_selection` uses.

    Args:
        convention: A key of `CONVENTIONS`.

    Returns:
        Tuple of names, in the convention's order.

    Raises:
        ValueError: If the convention is unknown.
    """
    if convention not in CONVENTIONS:
        raise ValueError(
            f'`convention` must be one of {sorted(CONVENTIONS)}. '
            f'Received: convention={convention!r}')
    synonyms = _SYNONYMS.get(convention, {})
    return tuple(synonyms.get(name, name) for name in CONVENTIONS[convention].joint_names)


def convention_selection(model_joint_names, convention):
    """What a model with the given joints offers of a convention.

    Args:
        model_joint_names: Sequence of the model's joint names.
        convention: A key of `CONVENTIONS`.

    Returns:
        Tuple of a `Skeleton` with those joints of the convention that the model predicts, in the
        convention's order, and a tuple with the model's index of each of them.

    Raises:
        ValueError: If the convention is unknown.
    """
    names = vocabulary_names(convention)
    full = CONVENTIONS[convention]
    kept = [own for own, name in zip(full.joint_names, names) if name in model_joint_names]
    indices = tuple(
        list(model_joint_names).index(name) for name in names if name in model_joint_names)
    return full.restricted_to(kept), indices
