"""Tasks: identifiers, names, metadata, queries, archive and life cycle.

Every name is looked up in its module when it is first used and is an ordinary attribute of the package from then on.
"""

from terok_util.lazy import lazily

_HOMES = {
    "ArchivedTask": "archive",
    "CONTAINER_TEROK_CONFIG": "meta",
    "TASK_NAME_MAX_LEN": "naming",
    "TaskDeleteResult": "lifecycle",
    "TaskMeta": "query",
    "agent_config_dir": "meta",
    "capture_task_logs": "lifecycle",
    "container_name": "/terok.lib.core.task_state",
    "dossier_path": "meta",
    "generate_task_name": "naming",
    "get_all_task_states": "query",
    "get_login_command": "lifecycle",
    "get_task_container_state": "query",
    "get_task_meta": "query",
    "get_tasks": "query",
    "get_workspace_git_diff": "query",
    "is_task_id": "identity",
    "iter_task_ids": "meta",
    "list_archived_tasks": "archive",
    "load_task_meta": "meta",
    "lookup_container_by_pt": "query",
    "mark_task_deleting": "meta",
    "meta_path": "meta",
    "normalize_task_id_input": "identity",
    "read_task_meta": "meta",
    "resolve_task_id": "identity",
    "sanitize_task_name": "naming",
    "task_archive_list": "archive",
    "task_archive_logs": "archive",
    "task_delete": "lifecycle",
    "task_exists": "meta",
    "task_list": "query",
    "task_login": "lifecycle",
    "task_new": "lifecycle",
    "task_rename": "lifecycle",
    "task_status": "lifecycle",
    "task_stop": "lifecycle",
    "tasks_archive_dir": "meta",
    "tasks_meta_dir": "meta",
    "update_task_exit_code": "meta",
    "update_task_meta": "meta",
    "validate_task_name": "naming",
    "wait_for_container_exit": "lifecycle",
    "write_task_meta": "meta",
}

__all__, __getattr__, __dir__ = lazily(__name__, _HOMES)
