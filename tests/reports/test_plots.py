"""Figures whose names come from data: any text draws, none is taken for mathematics, none stretches the figure."""

import io

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from hostile_texts import LINE, NEWLINES, PILED, payloads
from PIL import Image

from matchlib.reports import plots

matplotlib.use("Agg")
MATHEMATICS = r"$\frac{1$ and $\undefined{x}$"
TEXTS = [*payloads(), PILED, NEWLINES, LINE, MATHEMATICS, "_hidden", r"\$5 \$"]


def figures(text):
    """Every figure that shows a name, with this one."""
    values = {"low": 0.1, "value": 0.2, "high": 0.3, "n": 5, "measure": text}
    yield plots.plot_lengths({text: pd.Series(["a b", "a b c"]), "jobs": pd.Series(["a", "a b"])})
    yield plots.plot_agreement(
        pd.DataFrame({"similarity": [0.1, 0.2], "kind": [text, "rules select"]})
    )
    values |= dict.fromkeys(("judgments", "task", "system"), text)
    yield plots.plot_leaderboard(pd.DataFrame([values]), measure=text)
    yield plots.plot_weights(
        pd.DataFrame({"weight": [0, 1], "ndcg": [0.1, 0.2], "system": text}), 0.5
    )


# a sign that the font lacks is drawn as a box, and said
@pytest.mark.filterwarnings("ignore:Glyph:UserWarning", "ignore:constrained_layout:UserWarning")
def test_names_of_any_kind_are_drawn_as_text():
    for figure in figures(MATHEMATICS):
        figure.canvas.draw()
        plt.close(figure)


@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")
def test_no_text_stops_or_stretches_a_figure():
    figure = plt.figure(figsize=(4, 2))
    for text in TEXTS:
        figure.text(0, 0, plots.short_label(text))
    figure.savefig(target := io.BytesIO(), bbox_inches="tight")
    assert Image.open(target).width < 1_500 and Image.open(target).height < 400
    plt.close(figure)


def test_seeds_stand_in_one_order_three_worlds_a_row():
    values = pd.DataFrame(
        [
            (world, seed, system, value + seed / 100)
            for world in ("a", "b", "c", "d")
            for seed in (1, 2)
            for system, value in (("low", 0.1), ("high", 0.9), ("middle", 0.5))
        ],
        columns=["world", "seed", "system", "value"],
    )
    figure = plots.plot_seeds(values, measure="nDCG@10")
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert len(shown) == 4 and len({axis.get_position().y0 for axis in shown}) == 2
    assert [label.get_text() for label in shown[0].get_yticklabels()] == ["low", "middle", "high"]
    assert shown[0].lines[0].get_xdata().tolist() == pytest.approx([0.11, 0.51, 0.91])


def test_the_course_of_a_policy_has_a_panel_each():
    log = pd.DataFrame(
        {
            "iteration": [0, 1],
            **{
                name: [0.1, 0.2]
                for name in ("reward", "kl", "entropy", "length", "whole", "clipped")
            },
        }
    )
    axes = plots.plot_policy(log).axes
    assert len(axes) == 6 and all(axis.lines[0].get_ydata().tolist() == [0.1, 0.2] for axis in axes)


def test_true_fit_stands_against_the_root_of_the_divergence():
    curves = pd.DataFrame(
        {
            "system": ["best of n", "best of n", "ppo", "ppo"],
            "kl": [0.0, 4.0, -1e-9, 9.0],
            "value": [0.4, 0.5, 0.4, 0.6],
            "low": [0.3, 0.4, None, None],
            "high": [0.5, 0.6, None, None],
        }
    ).astype({"low": float, "high": float})
    kept = pd.DataFrame({"system": ["ppo"], "kl": [16.0], "value": 0.7, "low": 0.5, "high": 0.9})
    arms = pd.DataFrame({"arm": ["sft", "ppo"], "value": [0.4, 0.7], "low": 0.1, "high": 0.9})
    left, right = plots.plot_true_fit(curves, kept, arms).axes
    best, ppo, diamond = left.lines
    assert best.get_xdata().tolist() == [0, 2] and ppo.get_xdata().tolist() == [0, 3]
    assert diamond.get_xdata()[0] == 4 and diamond.get_color() == ppo.get_color()
    assert len(left.collections) == 2  # the band of best of n and the interval of the kept policy
    assert [label.get_text() for label in right.get_yticklabels()] == ["ppo", "sft"]


def test_classes_of_errors_stand_beside_the_published_ones():
    shares = pd.DataFrame(
        {
            "task": ["rank_resumes"] * 2,
            "class": ["a", "b"],
            "share": [0.4, 0.6],
            "low": [0.3, 0.5],
            "high": [0.5, 0.7],
        }
    )
    axis = plots.plot_classes(shares, {"a": 0.1, "b": 0.9}).axes[0]
    shown, published = axis.get_lines()
    assert shown.get_xdata().tolist() == [40, 60] and list(published.get_xdata()) == [90, 10]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["b", "a"]


def test_a_figure_says_what_it_shows():
    figure, (left, right) = plt.subplots(1, 2)
    left.plot([0, 1], label="stage 1")
    left.plot([1, 0], label="<b>raw</b>")
    left.set(xlabel="alignment", ylabel="nDCG@20", title="this test")
    right.set(xlabel="step")
    assert (
        plots.in_words(figure)
        == "Figure. this test: nDCG@20 against alignment: stage 1, <b>raw</b>; step"
    )
    plt.close(figure)
