"""Scores of stored predictions by the protocols of public benchmarks, without TensorFlow.

Every protocol is a module with `evaluate(predictions, labels)`, which returns JSON types, and
`tables(scores)`, which puts them beside published ones. Tables of poses come from
`predictions.read`. In results, errors end with `_mm`, other scores are shares in [0, 1], and a
score over nothing is None.
"""
