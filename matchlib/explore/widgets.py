"""The widgets of notebook 00; what they show and save is made by the plain functions beside this."""

from __future__ import annotations

from pathlib import Path

import ipywidgets
import pandas as pd

from matchlib.analysis.explain import explain_pairs
from matchlib.data.schema import DataError
from matchlib.explore.collection import SIDES, Collection
from matchlib.explore.compare import describe_moves, lists_html, ranks_side_by_side
from matchlib.explore.judgements import save_judgement
from matchlib.explore.marks import STYLE, first_line, pair_html
from matchlib.reports.text import show_invisible
from matchlib.retrieval.models import EncoderError

MAX_OPTIONS = 200
"""Documents that a menu lists; the field above it narrows them down."""
TASK_LABELS = (("resumes for a job", "rank_resumes"), ("jobs for a resume", "rank_jobs"))
WIDE = ipywidgets.Layout(width="95%")


class Explorer:
    """Menus for a query, two systems and two candidates, what they show, and buttons that judge.

    collection: what is looked at; judgements: the CSV to save to; annotator: the name to save under;
    top: candidates listed.
    """

    def __init__(
        self,
        collection: Collection,
        *,
        judgements: str | Path,
        annotator: str = "reader",
        top: int = 10,
    ):
        self.collection = collection
        self.judgements = Path(judgements)
        self._make_menus(annotator, top)
        self._make_outputs()
        self._is_filling = False
        self._fill_queries()
        for menu, react in (
            (self.task, self._fill_queries),
            (self.find, self._fill_queries),
            (self.query, self._compare),
            (self.first, self._compare),
            (self.second, self._compare),
            (self.top, self._compare),
            (self.a, self._show_pairs),
            (self.b, self._show_pairs),
        ):
            menu.observe(self._unless_filling(react), names="value")

    def _make_menus(self, annotator: str, top: int) -> None:
        systems = [(show_invisible(name), name) for name in self.collection.systems]
        self.task = ipywidgets.ToggleButtons(options=TASK_LABELS)
        self.find = ipywidgets.Text(
            description="find", placeholder="id or words", continuous_update=False
        )
        self.query = ipywidgets.Dropdown(description="for", layout=WIDE)
        self.first = ipywidgets.Dropdown(options=systems, description="first")
        self.second = ipywidgets.Dropdown(
            options=systems, value=systems[min(1, len(systems) - 1)][1], description="second"
        )
        self.top = ipywidgets.BoundedIntText(top, min=1, max=100, description="top")
        self.a = ipywidgets.Dropdown(description="A", layout=WIDE)
        self.b = ipywidgets.Dropdown(description="B", layout=WIDE)
        self.annotator = ipywidgets.Text(annotator, description="judged by")
        self.buttons = {}
        for preferred, label in (("a", "A fits better"), ("b", "B fits better"), ("tie", "equal")):
            button = ipywidgets.Button(description=label)
            button.on_click(lambda _, preferred=preferred: self._judge(preferred))
            self.buttons[preferred] = button

    def _make_outputs(self) -> None:
        self.lists = ipywidgets.HTML()
        self.moves = ipywidgets.Label()
        self.pairs = {"a": ipywidgets.HTML(), "b": ipywidgets.HTML()}
        self.message = ipywidgets.Label()
        half = ipywidgets.Layout(width="50%")
        columns = [
            ipywidgets.VBox([menu, self.pairs[name]], layout=half)
            for name, menu in (("a", self.a), ("b", self.b))
        ]
        self.panel = ipywidgets.VBox(
            [
                ipywidgets.HBox([self.task, self.find]),
                self.query,
                ipywidgets.HBox([self.first, self.second, self.top]),
                self.lists,
                self.moves,
                ipywidgets.HBox(columns),
                ipywidgets.HBox([*self.buttons.values(), self.annotator]),
                self.message,
            ]
        )

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.panel)

    def _unless_filling(self, react):
        """A menu that is being filled changes its value, too; that is no choice of the reader's.

        What cannot be ranked is told in a sentence: errors in a callback reach nobody in JupyterLab.
        """

        def on_change(_):
            if self._is_filling:
                return
            try:
                react()
            except (DataError, EncoderError) as problem:
                self.message.value = show_invisible(str(problem))

        return on_change

    def _texts(self) -> tuple[pd.Series, pd.Series]:
        queries, candidates = SIDES[self.task.value]
        return self.collection.texts(queries), self.collection.texts(candidates)

    def _fill(self, menu: ipywidgets.Dropdown, ids: list[str], value: str | None, texts) -> None:
        self._is_filling = True
        menu.options = [(_label(one, texts[one]), one) for one in ids]
        menu.value = value if value in ids else (ids[0] if ids else None)
        self._is_filling = False

    def _fill_queries(self) -> None:
        """List the queries that hold what was typed, then compare for the first of them."""
        texts, _ = self._texts()
        found = _find(texts, self.find.value)
        shown = found[:MAX_OPTIONS]
        self._fill(self.query, shown, self.query.value, texts)
        self.message.value = ""
        if not found:
            self.message.value = f"Nothing holds {show_invisible(self.find.value)!r}."
        elif len(found) > len(shown):
            self.message.value = (
                f"{len(shown)} of {len(found):,} are listed; find narrows them down."
            )
        self._compare()

    def _compare(self) -> None:
        """Rank for the query by both systems, and offer the listed candidates for a closer look."""
        _, texts = self._texts()
        if self.query.value is None:
            self.lists.value = ""
            self.moves.value = ""
            self._fill(self.a, [], None, texts)
            self._fill(self.b, [], None, texts)
            self._show_pairs()
            return
        rankings = [
            self.collection.rank(menu.value, self.task.value, self.query.value)
            for menu in (self.first, self.second)
        ]
        top = self.top.value
        compared = ranks_side_by_side(*rankings, top=top)
        names = (self.first.value, self.second.value)
        lists = lists_html(compared, names, texts, top=top)
        self.lists.value = f'{STYLE}<div class="explored">{lists}</div>'
        self.moves.value = show_invisible(describe_moves(compared, top=top))
        listed = compared["candidate_id"].tolist()
        best_of_second = compared.sort_values("second_rank")["candidate_id"].tolist()
        a = listed[0] if listed else None
        b = next((one for one in best_of_second if one != a), a)
        self._fill(self.a, listed, a, texts)
        self._fill(self.b, listed, b, texts)
        self._show_pairs()

    def _show_pairs(self) -> None:
        """Explain the query with A and with B, from their texts alone."""
        can_judge = self.task.value == "rank_resumes" and self.a.value != self.b.value
        for button in self.buttons.values():
            button.disabled = not can_judge
        if self.a.value is None or self.b.value is None:
            for shown in self.pairs.values():
                shown.value = ""
            return
        key = "job_id" if self.task.value == "rank_resumes" else "resume_id"
        other = "resume_id" if key == "job_id" else "job_id"
        pairs = pd.DataFrame({key: self.query.value, other: [self.a.value, self.b.value]})
        corpus = self.collection.corpus
        reasons = explain_pairs(pairs, corpus.jobs, corpus.resumes, self.collection.phrase_encoder)
        jobs, resumes = self.collection.texts("jobs"), self.collection.texts("resumes")
        for name, pair, why in zip(
            ("a", "b"), pairs.to_dict("records"), reasons.to_dict("records"), strict=True
        ):
            told = pair_html(jobs[pair["job_id"]], resumes[pair["resume_id"]], why)
            self.pairs[name].value = f'<div class="explored">{told}</div>'

    def _judge(self, preferred: str) -> None:
        """Save the judgement of A and B for the job, and say so."""
        if self.task.value != "rank_resumes" or self.query.value is None:
            self.message.value = (
                "A preference names two resumes for one job; rank resumes for a job."
            )
            return
        try:
            told = save_judgement(
                self.judgements,
                job_id=self.query.value,
                resume_a=self.a.value,
                resume_b=self.b.value,
                preferred=preferred,
                annotator=self.annotator.value,
            )
        except (DataError, OSError) as problem:
            told = f"Not saved: {problem}"
        self.message.value = show_invisible(told)


def _label(document_id: str, text: str) -> str:
    return show_invisible(f"{document_id} · {first_line(text, max_characters=80)}")


def _find(texts: pd.Series, words: str) -> list[str]:
    """Ids of the documents whose id or text holds the words, in any case; all without words."""
    words = words.strip().lower()
    if not words:
        return texts.index.tolist()
    in_id = texts.index.str.lower().str.contains(words, regex=False)
    in_text = texts.str.lower().str.contains(words, regex=False)
    return texts.index[in_id | in_text].tolist()
