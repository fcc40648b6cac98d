"""`aecv report` from the command line."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from aecv.commands import report
from aecv.ground.errors import StoreError
from aecv.workflow.story.report import write_report


def test_no_run_is_an_error_in_a_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(report.main, [str(tmp_path)])
    assert result.exit_code == 1
    assert (
        result.output
        == f"error: {tmp_path}: holds no run (no run.json); name the folder that --out was given\n"
    )


def test_it_replaces_a_report_and_nothing_else(small_run: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("mine")
    with pytest.raises(StoreError, match=r"notes.md: exists already and is no report"):
        write_report(small_run, notes)
    assert notes.read_text() == "mine"
    page = write_report(small_run, tmp_path / "page.html")
    page.write_text(page.read_text() + "<!-- old -->")
    assert "<!-- old -->" not in write_report(small_run, page).read_text()


def test_a_page_that_cannot_be_written_does_not_speak_of_resuming(small_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "nowhere" / "page.html"
    result = CliRunner().invoke(report.main, [str(small_run), "--out", str(out)])
    assert result.exit_code == 1
    assert result.output == (
        f"error: {out}: cannot be written (No such file or directory); choose another --out\n"
    )


def test_out_and_open(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(report.webbrowser, "open", lambda address: opened.append(address) or True)
    out = tmp_path / "a page.html"
    result = CliRunner().invoke(report.main, [str(small_run), "--out", str(out), "--open"])
    assert result.exit_code == 0, result.output
    size = out.stat().st_size / 1e6
    assert result.output == f"written to {out}, {size:.1f} MB\n"
    assert size < 8.0
    assert opened == [out.resolve().as_uri()]
    assert opened[0].endswith("a%20page.html")
