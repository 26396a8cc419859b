"""How well the coordinates of a code stand for known factors of variation: five published scores.

All of them take the codes of some images (posterior means, not samples) and the images' factors as two arrays: of all
combinations, which is the definition, or of enough random ones. Each score lies in [0, 1], 1 is best. The first two
sample pairs and groups of rows that share a factor; they cannot see a rotation that keeps the code complete, so read
`mig` or `dci` beside them. Constants are those of Locatello et al. 2019 (disentanglement_lib).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

Array = np.ndarray


def _checked(codes: Tensor | Array, factors: Tensor | Array) -> tuple[Array, Array]:
    """Codes in double precision and the values of the factors that vary, counted from 0."""
    rows = np.asarray(codes, np.float64)
    values = np.asarray(factors)
    if rows.ndim != 2 or values.ndim != 2 or len(rows) != len(values) or len(rows) < 2:
        raise ValueError(
            f"codes, factors: got shapes {rows.shape} and {values.shape}, allowed are (N, D) and (N, K) with N >= 2"
        )
    if not np.isfinite(rows).all():
        raise ValueError("codes: got values that are not finite, allowed are finite numbers")
    counted = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in values.T]
    varying = [column for column in counted if column.max() > 0]
    if not varying:
        raise ValueError(f"factors: got {values.shape[1]} that have one value each, allowed is one that varies or more")
    return rows, np.stack(varying, 1)


class _Sharing:
    """Draws rows that share the value of a factor, uniformly from all such rows."""

    def __init__(self, values: Array) -> None:
        self.order = np.argsort(values, kind="stable")
        self.counts = np.bincount(values)
        self.starts = self.counts.cumsum() - self.counts

    def draw(self, wanted: Array, random: np.random.Generator) -> Array:
        """One row for each of these values, of the same shape."""
        within = (random.random(wanted.shape) * self.counts[wanted]).astype(np.int64)
        return self.order[self.starts[wanted] + within]


def _in_chunks(number: int, size: int = 500) -> list[int]:
    return [min(size, number - start) for start in range(0, number, size)]


def beta_vae_score(
    codes: Tensor | Array,
    factors: Tensor | Array,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
    num_pairs: int = 64,
    seed: int = 0,
) -> float:
    """Accuracy of telling from differences of codes which factor pairs of images share (Higgins et al. 2017).

    Of L pairs that share the value of factor k and nothing else but by chance, the feature is the mean of |difference|
    of their codes and the label is k. The classifier is a logistic regression on standardised features.

    Args:
        codes: (N, D).
        factors: Values of the factors, (N, K).
        num_train: Features to fit the classifier to.
        num_test: Features to judge it by.
        num_pairs: L.
        seed: Of the draws.

    Returns:
        Share of right answers; 1 / K by chance.

    Raises:
        ValueError: For arrays that do not fit, or factors that do not vary.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rows, values = _checked(codes, factors)
    random = np.random.default_rng(seed)
    sharing = [_Sharing(column) for column in values.T]
    labels = random.integers(len(sharing), size=num_train + num_test)
    features = np.empty((len(labels), rows.shape[1]))
    for factor, share in enumerate(sharing):
        chosen, done = np.flatnonzero(labels == factor), 0
        for count in _in_chunks(len(chosen)):
            first = random.integers(len(rows), size=(count, num_pairs))
            second = share.draw(values[first, factor], random)
            features[chosen[done : done + count]] = np.abs(rows[first] - rows[second]).mean(1)
            done += count
    if len(sharing) == 1:
        return 1.0
    scale = StandardScaler().fit(features[:num_train])
    features = scale.transform(features)
    classifier = LogisticRegression(max_iter=1000).fit(features[:num_train], labels[:num_train])
    return float(classifier.score(features[num_train:], labels[num_train:]))


def factor_vae_score(
    codes: Tensor | Array,
    factors: Tensor | Array,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
    num_rows: int = 64,
    seed: int = 0,
) -> float:
    """Accuracy of telling a fixed factor from the coordinate that then varies least (Kim, Mnih 2018).

    Of L images that all share the value of factor k, the feature is the coordinate with the least variance relative to
    its variance over all images. The classifier takes the most frequent k of each coordinate.

    Args:
        codes: (N, D). Coordinates that do not vary, up to rounding, are left out.
        factors: Values of the factors, (N, K).
        num_train: Features to count votes in.
        num_test: Features to judge the votes by.
        num_rows: L.
        seed: Of the draws.

    Returns:
        Share of right answers; 1 / K by chance, 0 for codes that do not vary.

    Raises:
        ValueError: For arrays that do not fit, or factors that do not vary.
    """
    rows, values = _checked(codes, factors)
    spread = rows.std(0)
    alive = spread > 1e-6 * np.abs(rows).max(0)  # codes come in single precision
    if not alive.any():
        return 0.0
    rows = rows[:, alive] / spread[alive]
    random = np.random.default_rng(seed)
    labels = random.integers(values.shape[1], size=num_train + num_test)
    features = np.empty(len(labels), np.int64)
    for factor, column in enumerate(values.T):
        share, chosen, done = _Sharing(column), np.flatnonzero(labels == factor), 0
        for count in _in_chunks(len(chosen)):
            wanted = random.integers(len(share.counts), size=(count, 1)).repeat(num_rows, 1)
            features[chosen[done : done + count]] = rows[share.draw(wanted, random)].var(1).argmin(1)
            done += count
    votes = np.zeros((rows.shape[1], values.shape[1]), np.int64)
    np.add.at(votes, (features[:num_train], labels[:num_train]), 1)
    return float((votes.argmax(1)[features[num_train:]] == labels[num_train:]).mean())


def mutual_information(codes: Tensor | Array, factors: Tensor | Array, num_bins: int = 20) -> tuple[Array, Array]:
    """Mutual information of each coordinate, in bins, with each factor.

    Args:
        codes: (N, D); each coordinate is cut into bins of equal width between its least and its greatest value.
        factors: Values of the factors, (N, K); those that do not vary are left out.
        num_bins: Bins.

    Returns:
        Nats, (D, K), and the entropies of the factors, (K,).

    Raises:
        ValueError: For arrays that do not fit, or factors that do not vary.
    """
    rows, values = _checked(codes, factors)
    information = np.empty((rows.shape[1], values.shape[1]))
    for index, coordinate in enumerate(rows.T):
        edges = np.histogram_bin_edges(coordinate, num_bins)
        bins = np.digitize(coordinate, edges[1:-1])
        for factor, column in enumerate(values.T):
            joint = np.zeros((num_bins, column.max() + 1))
            np.add.at(joint, (bins, column), 1 / len(rows))
            information[index, factor] = _entropy(joint.sum(0)) + _entropy(joint.sum(1)) - _entropy(joint.ravel())
    return information, np.array([_entropy(np.bincount(column) / len(rows)) for column in values.T])


def _entropy(probabilities: Array) -> float:
    """Nats of probabilities along the first dimension."""
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum())


def mig(codes: Tensor | Array, factors: Tensor | Array, *, num_bins: int = 20) -> float:
    r"""Mutual information gap (Chen et al. 2018).

    $\frac1K\sum_k \frac{1}{H(v_k)}(I(z_{(1)}; v_k) - I(z_{(2)}; v_k))$, where the two coordinates are those that
    know most of factor k. A factor with more values than there are bins cannot reach 1.

    Args:
        codes: (N, D), see `mutual_information`; D = 1 has nothing for a second coordinate to know.
        factors: Values of the factors, (N, K).
        num_bins: Bins of a coordinate.

    Returns:
        The mean gap.

    Raises:
        ValueError: For arrays that do not fit, or factors that do not vary.
    """
    information, entropy = mutual_information(codes, factors, num_bins)
    return float((_gaps(information) / entropy).mean())


def _gaps(scores: Array) -> Array:
    """Greatest minus second greatest along the coordinates, (D, K) to (K,)."""
    ordered = np.sort(np.concatenate([np.zeros_like(scores[:1]), scores]), 0)  # with one, the second knows nothing
    return ordered[-1] - ordered[-2]


def sap(codes: Tensor | Array, factors: Tensor | Array, *, categorical: Sequence[int] = (), seed: int = 0) -> float:
    """Separated attribute predictability (Kumar et al. 2018).

    The mean over factors of the gap between the two coordinates that alone predict a factor best: by the squared
    correlation with an ordered factor, by the accuracy of a balanced linear classifier (a support vector machine with
    C = 0.01 on the standardised coordinate, on a held-out third) of a categorical one.

    Args:
        codes: (N, D).
        factors: Values of the factors, (N, K).
        categorical: Columns of `factors` whose values have no order.
        seed: Of the split.

    Returns:
        The mean gap.

    Raises:
        ValueError: For arrays that do not fit, or factors that do not vary.
    """
    rows, _ = _checked(codes, factors)
    columns = np.asarray(factors)
    varying = [index for index, column in enumerate(columns.T) if (column != column[0]).any()]
    spread = rows.std(0)
    standard = (rows - rows.mean(0)) / np.where(spread > 0, spread, 1)
    scores = np.empty((rows.shape[1], len(varying)))
    for place, factor in enumerate(varying):
        column = columns[:, factor].astype(np.float64)
        if factor in categorical:
            scores[:, place] = [_linear_accuracy(coordinate, columns[:, factor], seed) for coordinate in standard.T]
        else:
            scores[:, place] = ((standard * ((column - column.mean()) / column.std())[:, None]).mean(0)) ** 2
    return min(1.0, float(_gaps(scores).mean()))  # correlations are rounded


def _linear_accuracy(coordinate: Array, values: Array, seed: int) -> float:
    from sklearn.svm import LinearSVC

    order = np.random.default_rng(seed).permutation(len(values))
    train, test = order[: -(len(order) // 3)], order[-(len(order) // 3) :]
    classifier = LinearSVC(C=0.01, class_weight="balanced", dual=False).fit(coordinate[train, None], values[train])
    return float(classifier.score(coordinate[test, None], values[test]))


def dci(
    codes: Tensor | Array,
    factors: Tensor | Array,
    *,
    num_train: int = 1_000,
    num_test: int = 500,
    num_trees: int = 100,
    seed: int = 0,
) -> dict[str, float]:
    r"""Disentanglement, completeness and informativeness (Eastwood, Williams 2018).

    Gradient-boosted trees predict each factor from the whole code; R is the importance of coordinate j for factor k.
    Disentanglement is $1 - H_K(R_j)$ with rows normalised, weighted by their mass; completeness is $1 - H_D(R_k)$ with
    columns normalised, likewise; entropies have base K and D. Informativeness is the accuracy on other images.

    Args:
        codes: (N, D).
        factors: Values of the factors, (N, K).
        num_train: Rows to fit trees to, at most; less time than 10,000, the number of disentanglement_lib.
        num_test: Rows to judge them by, at most; the two together are at most N, divided in this proportion.
        num_trees: Trees a value of a factor.
        seed: Of the choice of rows and of the trees.

    Returns:
        `disentanglement`, `completeness` and `informativeness`.

    Raises:
        ValueError: For arrays that do not fit, or factors that do not vary.
    """
    from sklearn.ensemble import GradientBoostingClassifier

    rows, values = _checked(codes, factors)
    order = np.random.default_rng(seed).permutation(len(rows))
    share = min(1.0, len(rows) / (num_train + num_test))
    train, test = np.split(order[: int(share * (num_train + num_test))], [int(share * num_train)])
    importance, right = np.zeros((rows.shape[1], values.shape[1])), []
    for factor, column in enumerate(values.T):
        trees: Any = GradientBoostingClassifier(n_estimators=num_trees, random_state=seed)
        trees.fit(rows[train], column[train])
        importance[:, factor] = trees.feature_importances_
        right.append(float((trees.predict(rows[test]) == column[test]).mean()))
    return {
        "disentanglement": _one_sided(importance),
        "completeness": _one_sided(importance.T),
        "informativeness": float(np.mean(right)),
    }


def _one_sided(importance: Array) -> float:
    """One minus the entropy of each row in units of its greatest, weighted by the rows' mass."""
    mass = importance.sum(1)
    if importance.shape[1] == 1 or mass.sum() == 0:
        return float(mass.sum() > 0)
    entropy = np.array([_entropy(row / total) if total else 0.0 for row, total in zip(importance, mass, strict=True)])
    return float(((1 - entropy / np.log(importance.shape[1])) * mass).sum() / mass.sum())


def disentanglement(
    codes: Tensor | Array, factors: Tensor | Array, *, categorical: Sequence[int] = (), seed: int = 0
) -> dict[str, float]:
    """All scores, by name.

    Args:
        codes: (N, D).
        factors: Values of the factors, (N, K).
        categorical: See `sap`.
        seed: Of all draws.

    Returns:
        `beta-vae`, `factor-vae`, `mig`, `sap`, `dci-disentanglement`, `dci-completeness`, `dci-informativeness`.

    Raises:
        ValueError: For arrays that do not fit, or factors that do not vary.
    """
    return {
        "beta-vae": beta_vae_score(codes, factors, seed=seed),
        "factor-vae": factor_vae_score(codes, factors, seed=seed),
        "mig": mig(codes, factors),
        "sap": sap(codes, factors, categorical=categorical, seed=seed),
        **{f"dci-{name}": value for name, value in dci(codes, factors, seed=seed).items()},
    }
