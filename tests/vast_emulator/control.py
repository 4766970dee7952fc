"""Control over HTTP, for tests whose emulator is another process: ``/_emulator/...``."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .counting import RpcLog
from .errors import RpcError
from .faults import Fault
from .wire import Reply, Request

if TYPE_CHECKING:
    from .server import Server


class Control:
    """Answers control requests; bodies are JSON both ways."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._logs: dict[int, RpcLog] = {}
        self._log_ids = itertools.count(1)

    def answer(self, request: Request) -> Reply:
        """Do what a control request says; 400 with the reason when it cannot be done."""
        try:
            values = json.loads(request.body) if request.body else {}
            result = self._done(request.method, request.path[1:], values)
        except (KeyError, ValueError, TypeError) as error:
            return _json({"error": f"{type(error).__name__}: {error}"}, 400)
        except RpcError as error:
            return _json({"error": error.message}, error.status)
        return _json(result, 200)

    def _done(self, method: str, path: list[str], values: dict[str, Any]) -> Any:
        match method, path:
            case "GET", ["switches"]:
                return asdict(self._server.switches)
            case "PUT" | "POST", ["switches"]:
                self._server.switches.change(**values)
                return asdict(self._server.switches)
            case "PUT" | "POST", ["buckets", name]:
                self._server.engine.create_bucket(name)
            case "DELETE", ["buckets", name]:
                self._server.engine.drop_bucket(name)
            case "POST", ["buckets", name, "copy"]:
                self._server.engine.copy_bucket(name, str(values["to"]))
            case "GET", ["transactions"]:
                return sorted(self._server.engine.open)
            case "DELETE", ["transactions"]:
                return self._server.engine.expire_all()
            case "GET", ["counts"]:
                return dict(self._server.counters.totals)
            case _:
                return self._rules_and_logs(method, path, values)
        return {}

    def _rules_and_logs(self, method: str, path: list[str], values: dict[str, Any]) -> Any:
        faults = self._server.faults
        match method, path:
            case "POST", ["faults"]:
                kinds = tuple(values.pop("kinds", ()))
                return faults.add(Fault(kinds=kinds, **values)).as_json()
            case "DELETE", ["faults"]:
                faults.clear()
            case "GET", ["faults", number]:
                return faults.get(int(number)).as_json()
            case "DELETE", ["faults", number]:
                faults.remove(faults.get(int(number)))
            case "POST", ["faults", number, "release"]:
                faults.get(int(number)).release()
            case "POST", ["counting"]:
                log_id = next(self._log_ids)
                self._logs[log_id] = self._server.counters.open(values.get("bucket"))
                return {"id": log_id}
            case "GET", ["counting", number]:
                return self._logs[int(number)].as_json()
            case "DELETE", ["counting", number]:
                log = self._logs.pop(int(number))
                self._server.counters.close(log)
                return log.as_json()
            case _:
                raise ValueError(f"unknown control request {method} {'/'.join(path)}")
        return {}


def _json(value: Any, status: int) -> Reply:
    body = json.dumps(value).encode()
    return Reply(status, body=[body], content_type="application/json")
