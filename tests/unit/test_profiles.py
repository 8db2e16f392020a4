"""The profile for Slurm, by what the installed plugin does with it."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def plugin():
    return pytest.importorskip(
        "snakemake_executor_plugin_slurm", reason="the extra matchlib[slurm] is not installed"
    )


def settings_of_profile():
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    return {
        name.removeprefix("slurm-").replace("-", "_"): value
        for name, value in profile.items()
        if name.startswith("slurm-")
    }


def end_of_run(plugin, log_folder, settings):
    """What the plugin does with its log folder when a run ends."""
    executor = SimpleNamespace(
        workflow=SimpleNamespace(executor_settings=plugin.ExecutorSettings(**settings)),
        logger=logging.getLogger("test"),
        slurm_logdir=log_folder,
    )
    plugin.Executor.clean_old_logs(executor)


def test_a_run_that_ends_leaves_the_log_folders_of_another_run_s_waiting_jobs(plugin, tmp_path):
    """Slurm fails a job whose log it cannot open: JobLaunchFailure, exit code 0:53, and no log."""
    waiting = tmp_path / "slurm_logs" / "rule_02_contrastive"
    waiting.mkdir(parents=True)
    end_of_run(plugin, tmp_path / "slurm_logs", settings_of_profile())
    assert waiting.is_dir()
    end_of_run(plugin, tmp_path / "slurm_logs", {})
    assert not waiting.exists()  # the plugin's default; once it leaves them, so can the profile
