"""snakemake-executor-plugin-kubernetes for pods that share a volume, as profiles/kubernetes uses it.

Snakemake takes that plugin's pods to share no files, and would pass each declared output through a storage
provider. Stages hand each other whole folders, of which the manifest alone is declared. So here the same
executor is said to have a shared file system: the volume that all its pods mount. Snakemake finds
this package by its name where PYTHONPATH names the folder it lies in, profiles/kubernetes.
"""

from dataclasses import replace

from snakemake_executor_plugin_kubernetes import Executor, ExecutorSettings, common_settings

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

common_settings = replace(
    common_settings,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_default_storage_provider_args=False,
    auto_deploy_default_storage_provider=False,
)
