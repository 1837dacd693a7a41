"""What parts of a platform answer, read as they send it."""

import json

import pytest
from dagster._grpc.__generated__ import dagster_api_pb2

from financehub_dagster.operations.probes import Trouble, _text, not_loaded


@pytest.mark.parametrize("length", [20, 122, 123, 124, 127, 128, 15_743, 15_744, 15_871, 15_872, 40_000])
def test_the_text_of_a_code_server_is_found_whatever_its_length(length: int) -> None:
    found = {"a": "{" * (length - len(json.dumps({"a": ""})))}
    text = json.dumps(found)
    assert len(text) == length
    reply = dagster_api_pb2.ListRepositoriesReply(serialized_list_repositories_response_or_error=text)
    assert _text(reply.SerializeToString()) == found


@pytest.mark.parametrize("answer", [b"", b"\n", b"\n\x05hello", b"<html></html>", b"\x80" * 9])
def test_another_answer_is_none_of_a_code_server(answer: bytes) -> None:
    with pytest.raises(Trouble, match="its answer is none of a code server"):
        _text(answer)


def test_the_first_cause_of_an_error_is_told_in_one_line() -> None:
    cause = {"message": "ValidationError: 1 error for Settings\nminutes_days\n  a number\n", "cause": None}
    error = {"message": "DagsterUserCodeLoadError: Error occurred during the loading in\nmodule", "cause": cause}
    assert not_loaded(error) == "the code location does not load: ValidationError: 1 error for Settings"
