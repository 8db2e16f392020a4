"""The client of an OpenAI-compatible service, shared by embeddings and language models."""

from __future__ import annotations

import os

RETRIES = 6
TIMEOUT_S = 120


def openai_client(
    error: type[Exception],
    *,
    retries: int = RETRIES,
    timeout_s: float = TIMEOUT_S,
):
    """The openai client for the service at OPENAI_BASE_URL, with the key in OPENAI_API_KEY.

    Time-outs, refused connections, 408, 409, 429 and 5xx are tried again with growing pauses. Raises
    `error` without a key; a local service takes any.
    """
    from openai import OpenAI

    if not os.environ.get("OPENAI_API_KEY"):
        raise error(
            "OPENAI_API_KEY is not set, which a service needs; set it in the environment (any word "
            "for a local service), and OPENAI_BASE_URL to the service's address"
        )
    return OpenAI(max_retries=retries, timeout=timeout_s)


def status_reason(problem) -> str:
    """status and message of an openai.APIStatusError, at most 200 characters of it."""
    return f"status {problem.status_code}: {str(problem.message)[:200]}"
