"""Ratings from people: what is refused, who is left out, and what the others agree on."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from data_builders.rater_screening import Ratings, outlying, screen
from data_builders.ratings import read_ratings, summarise_ratings
from seagull_tune.config.exchange import RatingRule, RatingTable, Scale
from seagull_tune.errors import DataError

TABLE = RatingTable(scale=Scale(low=1, high=5, higher_is_better=True))
HEAD = ("image", "region", "rater", "score")
Line = tuple[object, object, object, object]


def write(path: Path, lines: Iterable[Line], head: tuple[str, ...] = HEAD) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *lines])
    return path


def panel(n_raters: int = 8, n_regions: int = 40, noise: float = 0.4, seed: int = 0) -> np.ndarray:
    """Scores 1..5 of raters who see the same, each with some noise: float64 (P, U)."""
    rng = np.random.default_rng(seed)
    true = rng.uniform(1.5, 4.5, n_regions)
    return np.clip(true + rng.normal(0.0, noise, (n_raters, n_regions)), 1.0, 5.0)


def lines_of(scores: np.ndarray) -> list[Line]:
    return [
        (f"{u // 4}.png", str(u % 4), f"rater {p}", f"{scores[p, u]:.3f}")
        for p in range(scores.shape[0])
        for u in range(scores.shape[1])
    ]


def ratings_of(scores: np.ndarray) -> Ratings:
    rater, item = np.indices(scores.shape).reshape(2, -1)
    n_raters, n_items = scores.shape
    return Ratings(
        tuple(map(str, range(n_raters))), tuple(("a", str(u)) for u in range(n_items)), rater, item, scores.ravel()
    )


def test_mean_and_deviation(tmp_path: Path) -> None:
    lines: list[Line] = [
        (image, region, rater, base + extra)
        for image, region, base in (("a.png", 0, 2.0), ("a.png", 1, 3.0), ("b.png", 0, 1.0), ("b.png", 1, 4.0))
        for rater, extra in (("ann", 0.0), ("ben", 0.5), ("eve", 1.0))
    ]
    found = summarise_ratings(write(tmp_path / "r.csv", [*lines, ("c.png", 0, "ann", 3)]), TABLE)
    first = found.regions[0]
    assert (first.image, first.region, first.n_raters) == ("a.png", "0", 3)
    assert first.opinion.value == pytest.approx(2.5, abs=1e-12) and first.opinion.quality == pytest.approx(0.375)
    assert first.deviation == pytest.approx(0.5, abs=1e-12) and first.quality_deviation == pytest.approx(0.125)
    assert found.too_few == (("c.png", "0"),) and not found.left_out
    assert "too few ratings: c.png, region 0" in found.describe()
    found.write_table(tmp_path / "regions.csv")
    with (tmp_path / "regions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 and rows[0] == {
        "image": "a.png", "region": "0", "mean": "2.5", "deviation": "0.5", "raters": "3", "quality": "0.375",
        "quality_deviation": "0.125",
    }  # fmt: skip


def test_the_direction_is_the_declared_one(tmp_path: Path) -> None:
    worse_is_higher = TABLE.model_copy(update={"scale": Scale(low=1, high=5, higher_is_better=False)})
    file = write(tmp_path / "r.csv", lines_of(panel()))
    up, down = (summarise_ratings(file, table).regions for table in (TABLE, worse_is_higher))
    assert up[0].opinion.quality == pytest.approx(1.0 - down[0].opinion.quality, abs=1e-12)


def test_csv_and_json_lines_are_read_alike(tmp_path: Path) -> None:
    lines = lines_of(panel())
    text = "\n".join(json.dumps(dict(zip(HEAD, line, strict=True))) for line in lines)
    (tmp_path / "r.jsonl").write_text(text + "\n\n")
    one = summarise_ratings(tmp_path / "r.jsonl", TABLE)
    two = summarise_ratings(write(tmp_path / "r.csv", reversed(lines)), TABLE)
    assert one.regions == two.regions and one.screening.alpha == two.screening.alpha
    named = TABLE.model_copy(update={"rater": "who", "delimiter": ";"})
    (tmp_path / "s.csv").write_text("\ufeffimage;region;who;score\na.png;0;ann;3\n", encoding="utf-8")
    assert read_ratings(tmp_path / "s.csv", named).raters == ("ann",)


def test_inconsistent_raters_are_left_out(tmp_path: Path) -> None:
    scores = panel(10)
    scores[2] = 6.0 - scores[2]  # turned the scale round
    scores[5] = np.random.default_rng(9).uniform(1.0, 5.0, scores.shape[1])  # did not look
    scores[7] = 3.0  # always the same
    found = summarise_ratings(write(tmp_path / "r.csv", lines_of(scores)), TABLE)
    assert {rater.name for rater in found.left_out} == {"rater 2", "rater 5", "rater 7"}
    assert "always gives 3" in found.describe() and "SRCC with the others' mean is -0." in found.describe()
    assert found.screening.alpha_before is not None and found.screening.alpha is not None
    assert found.screening.alpha_before < 0.5 < 0.8 < found.screening.alpha
    assert found.screening.mean_srcc is not None and found.screening.mean_srcc > 0.85
    honest = np.delete(scores, [2, 5, 7], axis=0).round(3).mean(axis=0)
    means = {(r.image, r.region): r.opinion.value for r in found.regions}
    assert [means[f"{u // 4}.png", str(u % 4)] for u in range(40)] == pytest.approx(honest.tolist(), abs=1e-9)


def test_who_rated_little_is_kept_and_named() -> None:
    scores = panel(5, 12)
    full = ratings_of(scores)
    kept = (full.rater != 4) | (full.item < 3)
    few = Ratings(full.raters, full.items, full.rater[kept], full.item[kept], full.score[kept])
    found = screen(few, RatingRule())
    assert not any(rater.left_out for rater in found.raters)
    assert "shares only 3 regions" in found.raters[4].note and not found.raters[0].note


def test_two_raters_who_disagree_are_both_kept() -> None:
    scores = panel(1)
    found = screen(ratings_of(np.concatenate([scores, 6.0 - scores])), RatingRule())
    assert not any(rater.left_out for rater in found.raters)
    assert found.mean_srcc == pytest.approx(-1.0, abs=1e-9) and found.alpha is not None and found.alpha < 0


def test_bt500_rejects_outliers_on_both_sides_only() -> None:
    scores = panel(30, 60, noise=0.2, seed=3)
    honest = set(outlying(ratings_of(scores)))
    assert len(honest) <= 3 and 4 not in honest  # the test's own error: about one honest rater in twenty
    wild = scores.copy()
    wild[4, ::5] += 2.5
    wild[4, 2::5] -= 2.5
    assert 4 in outlying(ratings_of(wild))
    shifted = scores.copy()
    shifted[4] += 2.5  # another scale, not another opinion
    assert 4 not in outlying(ratings_of(shifted))
    assert "BT.500" in screen(ratings_of(wild), RatingRule()).raters[4].left_out
    assert not any(r.left_out for r in screen(ratings_of(wild), RatingRule(bt500=False)).raters)


def test_all_wrong_lines_are_named(tmp_path: Path) -> None:
    wrong: list[Line] = [
        ("a.png", 0, "ann", "nan"), ("a.png", 1, "ann", 7), ("a.png", 2, "ann", "good"), ("a.png", 3, "", 2),
        ("", 4, "ann", 2), ("a.png", "", "ann", 2), ("a.png", 6, "ann", 2), ("a.png", 6, "ann", 3),
        ("a.png", 7, "ann", ""), ("a.png", 8, "ann", "inf"),
    ]  # fmt: skip
    with pytest.raises(DataError) as caught:
        read_ratings(write(tmp_path / "r.csv", wrong), TABLE)
    said = str(caught.value)
    assert "9 ratings are wrong" in said
    for line in (
        "line 2: the score is 'nan'", "line 3: the score is 7; the declared range is 1..5",
        "line 4: the score is 'good'", "line 5: the rater is missing", "line 6: the image is missing",
        "line 7: the region is missing",
        "line 9: ann rated a.png, region 6, before (line 8)", "line 10: the score is ''", "line 11: the score is 'inf'",
    ):  # fmt: skip
        assert line in said


def test_files_that_are_no_ratings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rater: none is called 'rater'\. Did you mean 'raters'"):
        read_ratings(write(tmp_path / "a.csv", [], ("image", "region", "raters", "score")), TABLE)
    with pytest.raises(DataError, match="holds no rating"):
        read_ratings(write(tmp_path / "b.csv", []), TABLE)
    with pytest.raises(DataError, match="cannot be read"):
        read_ratings(tmp_path / "none.csv", TABLE)
    (tmp_path / "c.jsonl").write_text('{"image": "a", "region": 0, "rater": "x", "score": 2}\nno\n')
    with pytest.raises(DataError, match="line 2: not JSON"):
        read_ratings(tmp_path / "c.jsonl", TABLE)
    (tmp_path / "c.jsonl").write_text("[1]\n")
    with pytest.raises(DataError, match="an object is needed"):
        read_ratings(tmp_path / "c.jsonl", TABLE)
    (tmp_path / "c.jsonl").write_text("[" * 100_000 + "\n")
    with pytest.raises(DataError, match="line 1: not JSON"):
        read_ratings(tmp_path / "c.jsonl", TABLE)
    (tmp_path / "c.jsonl").write_text('{"image": "\\ud800", "region": 0, "rater": "x", "score": 2}\n')
    with pytest.raises(DataError, match=r"line 1: the image is '\\ud800', which is no Unicode"):
        read_ratings(tmp_path / "c.jsonl", TABLE)


def test_nothing_to_agree_on(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 rater\(s\) \(rater 0\); at least 2"):
        summarise_ratings(write(tmp_path / "one.csv", lines_of(panel(1))), TABLE)
    with pytest.raises(DataError, match="all 320 scores are 3"):
        summarise_ratings(write(tmp_path / "flat.csv", lines_of(np.full((8, 40), 3.0))), TABLE)
    apart: list[Line] = [("a.png", n, f"rater {n}", n % 5 + 1) for n in range(8)]
    with pytest.raises(DataError, match="none of 8 regions was rated by 2 raters"):
        summarise_ratings(write(tmp_path / "apart.csv", apart), TABLE)
