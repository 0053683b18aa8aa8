"""Rewards in their real processes: what they are shut off from, and what becomes of those that misbehave."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from modelgarden.api.finetunejob.rewards import Reward
from modelgarden_pod.errors import UserError
from modelgarden_train.rewards import judged
from modelgarden_train.rewards.completion import Completion
from modelgarden_train.rewards.judge_process import JudgeProcess
from modelgarden_train.rewards.scorer import Scorer
from modelgarden_train.rewards.trial import try_rewards
from tests.integration.harness.waiting import wait_for
from tests.integration.trainer_process import SOURCES, lives

SOURCE, DATABASE = "s3://bucket/reward.py", "s3://bucket/shop.sqlite"
SECRET = "kept-to-ourselves"
NUMBERS = "SELECT n FROM numbers"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
UNSTOPPABLE = """
WITH RECURSIVE n(t) AS (SELECT replace(hex(zeroblob(499000)), '0', 'a') UNION ALL SELECT t FROM n)
SELECT count(*) FROM n
WHERE t LIKE '%_' || substr(t, 1, 110) || 'b' OR t LIKE '%_' || substr(t, 1, 110) || 'c'
   OR t LIKE '%_' || substr(t, 1, 110) || 'd' OR t LIKE '%_' || substr(t, 1, 110) || 'e'
"""
"""A query whose steps are so long that SQLite looks at no clock for many seconds, on a fast machine too."""


def completion(text: str, *, answer: str = "", prompt: str = "How many?") -> Completion:
    return Completion(prompt=prompt, text=text, ids=tuple(range(len(text))), answer=answer)


def python_reward(**settings: Any) -> Reward:
    return Reward.model_validate({"type": "Python", "python": {"source": SOURCE, **settings}})


SQL = Reward.model_validate({"type": "SQL", "sql": {"database": DATABASE, "timeoutSeconds": 1}})
DIGITS = Reward.model_validate({"type": "Regex", "regex": {"pattern": r"\d"}})
SCHEMA = Reward.model_validate({"type": "JSONSchema", "jsonSchema": {"document": '{"type": "integer"}'}})


@dataclass
class Files:
    """Local copies of the files that rewards name."""

    folder: Path
    paths: dict[str, Path] = field(default_factory=dict)

    def python(self, text: str) -> Mapping[str, Path]:
        """Have the Python file hold this."""
        self.paths[SOURCE] = self.folder / "0"
        self.paths[SOURCE].write_text(dedent(text))
        return self.paths

    def database(self) -> Mapping[str, Path]:
        """Have a database with three numbers."""
        self.paths[DATABASE] = self.folder / "1"
        with closing(sqlite3.connect(self.paths[DATABASE])) as connection:
            connection.executescript("CREATE TABLE numbers (n); INSERT INTO numbers VALUES (1), (2), (3);")
        return self.paths


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def found_by(files: Files, body: str, **settings: Any) -> Sequence[float | None]:
    """Return what a function with this body says of two completions."""
    text = "def reward(completions, **kwargs):\n" + "\n".join(
        f"    {line}" for line in dedent(body).strip().splitlines()
    )
    with Scorer.start([python_reward(**settings)], files.python(text)) as scorer:
        return scorer.score([completion("a"), completion("bc")]).by_reward[0]


def judge_of(scorer: Scorer) -> JudgeProcess:
    process = scorer.judges[0]._process._process  # type: ignore[attr-defined]
    assert isinstance(process, JudgeProcess)
    return process


class TestTogether:
    def test_rewards_of_all_types_judge_in_the_order_of_the_spec(self, files: Files) -> None:
        files.database()
        files.python("def reward(completions, **kwargs):\n    return [None, *map(len, completions[1:])]\n")
        length = Reward.model_validate({"type": "Length", "length": {"maxTokens": 4}})
        exact = Reward.model_validate({"type": "ExactMatch"})
        rewards = [
            reward.model_copy(update={"weight": float(2**place)})
            for place, reward in enumerate([python_reward(), SQL, exact, DIGITS, SCHEMA, length])
        ]

        with Scorer.start(rewards, files.paths) as scorer:
            scores = scorer.score([completion(NUMBERS, answer=NUMBERS), completion("42", answer=NUMBERS)])

        assert scores.by_reward == ((None, 2.0), (1.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0))
        assert scores.totals == (6.0, 58.0)

    def test_many_completions_and_strange_ones_are_no_trouble(self, files: Files) -> None:
        files.database()
        strange = ["", "\ud800", "\x00", "1" * 400_000, "é" * 100_000, "\n", '"\\', "{" * 50_000]
        given = [completion(text, answer=NUMBERS) for text in strange] * 8
        files.python("def reward(completions, **kwargs):\n    return list(map(len, completions))\n")

        with Scorer.start([python_reward(), SQL, DIGITS, SCHEMA], files.paths) as scorer:
            scores = scorer.score(given)
            nothing = scorer.score([])

        assert scores.by_reward[0] == tuple(float(len(text)) for text in strange) * 8
        assert scores.by_reward[1] == (0.0,) * 64
        assert scores.by_reward[2] == (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0) * 8
        assert nothing.by_reward == ((), (), (), ())

    def test_what_a_reward_has_started_ends_with_it(self, files: Files) -> None:
        files.python(
            """
            import subprocess

            child = subprocess.Popen(["sleep", "600"])

            def reward(completions, **kwargs):
                return [child.pid for _ in completions]
            """
        )
        with Scorer.start([python_reward()], files.paths) as scorer:
            (child,) = scorer.score([completion("a")]).by_reward[0]
            process = judge_of(scorer).pid
            assert child is not None
            assert lives(int(child))

        assert not lives(process)
        wait_for(lambda: not lives(int(child)), 10, what="the reward's child to end")


class TestShutOff:
    @pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"])
    def test_there_is_no_network(self, files: Files, family: str) -> None:
        found = found_by(
            files,
            f"""
            import socket
            try:
                socket.socket(socket.{family}, socket.SOCK_DGRAM)
            except PermissionError:
                return [1, 1]
            return [0, 0]
            """,
        )

        assert found == (1.0, 1.0)

    def test_a_name_cannot_be_asked_for_nor_a_server_reached_by_a_program(self, files: Files) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            found = found_by(
                files,
                f"""
                import subprocess, sys, urllib.request
                try:
                    urllib.request.urlopen("http://127.0.0.1:{server.getsockname()[1]}", timeout=5)
                except OSError:
                    first = 1
                program = "import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
                done = subprocess.run([sys.executable, "-c", program], capture_output=True)
                return [first, b"PermissionError" in done.stderr]
                """,
            )

        assert found == (1.0, 1.0)

    def test_programs_asyncio_and_threads_work(self, files: Files) -> None:
        found = found_by(
            files,
            """
            import asyncio, concurrent.futures, subprocess
            async def one():
                process = await asyncio.create_subprocess_exec("echo", "1", stdout=subprocess.PIPE)
                return float((await process.communicate())[0])
            with concurrent.futures.ThreadPoolExecutor() as pool:
                two = pool.submit(lambda: 2.0).result()
            return [asyncio.run(one()), two]
            """,
        )

        assert found == (1.0, 2.0)

    def test_its_environment_holds_nothing_of_ours(
        self, files: Files, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        found = found_by(
            files,
            """
            import os
            allowed = {"CUDA_VISIBLE_DEVICES", "HOME", "LANG", "LC_CTYPE", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PATH",
                       "PYTHONDONTWRITEBYTECODE", "PYTHONIOENCODING", "PYTHONPATH", "PYTHONUNBUFFERED", "TMPDIR"}
            more = set(os.environ) - allowed
            assert not more, more
            return [len(os.listdir("/proc/self/fd")), os.getcwd() == os.environ["HOME"]]
            """,
        )

        assert found[1] == 1.0
        assert found[0] is not None
        assert found[0] <= 6  # the standard ones, the socket, the folder that is listed

    def test_no_process_of_ours_can_be_read(self, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        with subprocess.Popen(["sleep", "600"]) as other:
            try:
                found = found_by(
                    files,
                    f"""
                    import ctypes, os
                    read = 0
                    for process in (os.getppid(), {other.pid}):
                        for name in ("environ", "mem", "maps"):
                            try:
                                open(f"/proc/{{process}}/{{name}}", "rb").read(64)
                            except PermissionError:
                                read += 1
                    traced = ctypes.CDLL(None).ptrace(16, {other.pid}, 0, 0)
                    return [read, traced]
                    """,
                )
            finally:
                other.kill()

        assert found == (6.0, -1.0)

    def test_a_hidden_process_cannot_be_read_where_landlock_is_missing(self) -> None:
        """Of processes that hide, as the trainer's do; without it the same reader finds the secret."""
        reader = dedent(
            """
            import os
            from modelgarden_train.rewards.judge.sandbox import _drop_capabilities
            _drop_capabilities()
            try:
                print("found" if b"SECRET" in open(f"/proc/{os.getppid()}/environ", "rb").read() else "nothing")
            except PermissionError:
                print("refused")
            """
        )
        parent = dedent(
            """
            import subprocess, sys
            from modelgarden_pod.prctl import hide_from_others
            from modelgarden_train.rewards.judge.sandbox import _drop_capabilities
            _drop_capabilities()  # which the reader would lack: it may read only what has no more than it
            if sys.argv[1] == "hidden":
                hide_from_others()
            print(subprocess.run([sys.executable, "-c", sys.argv[2]], env={"PYTHONPATH": sys.argv[3]}, check=True,
                                 capture_output=True, text=True).stdout)
            """
        )
        path = os.pathsep.join(map(str, SOURCES))

        def said(how: str) -> str:
            done = subprocess.run(
                [sys.executable, "-c", parent, how, reader, path],
                env={"SECRET": SECRET, "PYTHONPATH": path},
                check=True,
                capture_output=True,
                text=True,
            )
            return done.stdout.strip()

        assert (said("hidden"), said("open")) == ("refused", "found")

    def test_files_of_ours_are_neither_read_nor_written(self, files: Files, tmp_path: Path) -> None:
        token = tmp_path / "token"
        token.write_text(SECRET)
        found = found_by(
            files,
            f"""
            import os, tempfile
            refused = 0
            for mode in ("r", "w", "a"):
                try:
                    open({str(token)!r}, mode)
                except PermissionError:
                    refused += 1
            with tempfile.TemporaryFile() as own:
                own.write(b"x")
            return [refused, os.access({str(token)!r}, os.R_OK)]
            """,
        )

        assert found[0] == 3.0
        assert token.read_text() == SECRET

    def test_no_signal_reaches_the_trainer(self, files: Files) -> None:
        found = found_by(
            files,
            """
            import os
            try:
                os.kill(os.getppid(), 0)
            except PermissionError:
                return [1, 1]
            return [0, 0]
            """,
        )

        assert found == (1.0, 1.0)

    def test_its_memory_is_limited(self, files: Files) -> None:
        with pytest.raises(UserError, match=r"line 2: MemoryError") as told:
            found_by(files, "return [len(bytearray(500 * 1024 ** 2)), 0]", memoryMebibytes=256)

        assert told.value.reason == "RewardFailed"
        assert "memoryMebibytes" in told.value.message
        assert found_by(files, "return [len(bytearray(500 * 1024 ** 2)), 0]", memoryMebibytes=1024)[0]

    def test_its_files_are_limited(self, files: Files) -> None:
        with pytest.raises(UserError, match="File too large"):
            found_by(files, "open('big', 'wb').write(bytes(65 * 1024 ** 2))")

    def test_it_ends_with_the_trainer_whatever_ends_that(self, files: Files) -> None:
        paths = files.python("def reward(completions, **kwargs):\n    while True: pass\n")
        program = dedent(
            f"""
            import os, sys
            from pathlib import Path
            from modelgarden.api.finetunejob.rewards import Reward
            from modelgarden_train.rewards.scorer import Scorer
            from modelgarden_train.rewards.completion import Completion
            reward = Reward.model_validate_json(sys.argv[1])
            scorer = Scorer.start([reward], {{"{SOURCE}": Path(sys.argv[2])}})
            print(scorer.judges[0]._process._process.pid, flush=True)
            scorer.score([Completion("", "", (), "")])
            """
        )
        reward = python_reward().model_dump_json(by_alias=True, exclude_none=True)
        with subprocess.Popen(
            [sys.executable, "-c", program, reward, paths[SOURCE]],
            env={"PYTHONPATH": os.pathsep.join(map(str, SOURCES))},
            stdout=subprocess.PIPE,
            text=True,
        ) as trainer:
            assert trainer.stdout is not None
            pid = int(trainer.stdout.readline())
            assert lives(pid)
            trainer.kill()

        wait_for(lambda: not lives(pid), 10, what="the reward's process to end")


class TestTheUsersFault:
    def told(self, files: Files, text: str, **settings: Any) -> str:
        """Return the message for a Python file that holds this."""
        paths = files.python(text)
        with (
            pytest.raises(UserError) as told,
            Scorer.start([DIGITS, python_reward(**settings)], paths) as scorer,
        ):
            scorer.score([completion("a"), completion("b")])
        assert told.value.reason == "RewardFailed"
        assert told.value.message.startswith("objective.grpo.rewards[1] (Python): ")
        return told.value.message

    def test_an_exception_is_told_with_the_file_and_its_line(self, files: Files) -> None:
        told = self.told(files, "def reward(completions, **kwargs):\n    return [1 / 0]\n")

        assert f"{SOURCE}, line 2: ZeroDivisionError: division by zero" in told
        assert "correct" in told

    def test_a_function_that_hangs_is_ended_in_its_time(self, files: Files) -> None:
        began = time.monotonic()

        told = self.told(files, "def reward(**kwargs):\n    while True: pass\n", timeoutSeconds=1)

        assert "took longer than 1 s for 2 completions" in told
        assert "timeoutSeconds" in told
        assert time.monotonic() - began < 60

    def test_so_is_a_file_that_hangs(self, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(judged, "LOADING_SECONDS", 5.0)

        assert "was not ready within 5 s" in self.told(files, "while True: pass\n")

    @pytest.mark.parametrize(
        ("end", "want"),
        [
            ("os._exit(3)", "it ended with exit code 3"),
            ("os.kill(os.getpid(), 9)", "it was killed, as is done where the pod needs more memory"),
            ("os.abort()", "it was ended by SIGABRT"),
        ],
    )
    def test_the_end_of_its_process_is_told_with_its_last_words(
        self, files: Files, end: str, want: str
    ) -> None:
        in_function = f"import os\ndef reward(**kwargs):\n    print('farewell')\n    {end}\n"

        assert f"{want}; it printed last: farewell, while the function ran" in self.told(files, in_function)
        assert want in self.told(files, f"import os\n{end}\n")

    @pytest.mark.parametrize(
        ("value", "want"),
        [
            ("[1.0]", "returned 1 values for 2 completions"),
            ("[1.0, float('nan')]", "returned nan for completion 1"),
            ("[1.0, 'high']", "returned 'high' for completion 1"),
        ],
    )
    def test_values_that_are_none_are_told(self, files: Files, value: str, want: str) -> None:
        assert want in self.told(files, f"def reward(completions, **kwargs):\n    return {value}\n")

    def test_what_it_prints_stands_in_nobodys_way(
        self, files: Files, caplog: pytest.LogCaptureFixture
    ) -> None:
        text = """
            import os, sys
            print('{"values": [7, 7]}')
            def reward(completions, **kwargs):
                print('{"values": [7, 7]}', "\\ud800")
                os.write(1, b'{"values": [7, 7]}\\n')
                sys.stderr.write("x" * 1_000_000)
                assert sys.stdin.read() == ""
                return [1, 2]
            """
        caplog.set_level("INFO")

        with Scorer.start([python_reward()], files.python(text)) as scorer:
            assert scorer.score([completion("a"), completion("b")]).by_reward == ((1.0, 2.0),)

        assert '{"values": [7, 7]}' in [getattr(record, "line", None) for record in caplog.records]

    @pytest.mark.parametrize(
        "answer", [b'{"values": [NaN, 1]}', b'{"values": [1]}', b"[]", b"no json", b'{"values": [true, "1"]}']
    )
    def test_an_answer_in_its_name_is_not_believed(self, files: Files, answer: bytes) -> None:
        line = answer + b"\n"
        text = f"""
            import os
            def reward(completions, **kwargs):
                for end in range(3, 10):
                    try:
                        os.write(end, {line!r})
                    except OSError:
                        pass
                return [1, 2]
            """

        assert "it says what is no answer" in self.told(files, text)

    @pytest.mark.parametrize(
        ("reward", "want"),
        [
            ({"type": "Regex", "regex": {"pattern": "("}}, "the pattern is no regular expression"),
            ({"type": "JSONSchema", "jsonSchema": {"document": "{}}"}}, "the schema is no JSON"),
            ({"type": "SQL", "sql": {"database": SOURCE.replace(".py", "")}}, "no SQLite database"),
        ],
    )
    def test_settings_that_are_none_are_told_at_the_start(
        self, files: Files, reward: Mapping[str, Any], want: str
    ) -> None:
        text = files.python("id,name\n" * 500)[SOURCE]

        with pytest.raises(UserError, match=want) as told:
            Scorer.start([Reward.model_validate(reward)], {SOURCE.replace(".py", ""): text})

        assert told.value.reason == "RewardFailed"
        assert told.value.message.startswith(f"objective.grpo.rewards[0] ({reward['type']}): ")


class TestTheModelsFault:
    def test_a_query_that_would_last_for_ever_is_worth_0(self, files: Files) -> None:
        files.database()
        with Scorer.start([SQL], files.paths) as scorer:
            process = judge_of(scorer).pid
            given = [completion(text, answer=NUMBERS) for text in (ENDLESS, NUMBERS + " WHERE n > 0")]

            assert scorer.score(given).by_reward == ((0.0, 1.0),)
            assert judge_of(scorer).pid == process

    def test_one_that_cannot_be_stopped_ends_the_process_and_is_worth_0(
        self, files: Files, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(judged, "GRACE_SECONDS", 1.0)
        files.database()
        with Scorer.start([SQL], files.paths) as scorer:
            process = judge_of(scorer).pid
            given = [completion(text, answer=NUMBERS) for text in (UNSTOPPABLE, NUMBERS + " WHERE n > 0")]

            assert scorer.score(given).by_reward == ((0.0, 1.0),)
            assert judge_of(scorer).pid != process
            assert not lives(process)

    def test_an_answer_that_cannot_be_stopped_is_told(
        self, files: Files, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(judged, "GRACE_SECONDS", 1.0)

        with pytest.raises(UserError, match=r"'How many.' is no query that can be run to its end") as told:
            try_rewards([SQL], files.database(), [completion(UNSTOPPABLE, answer=UNSTOPPABLE)])

        assert told.value.reason == "DatasetInvalid"

    def test_one_that_takes_the_memory_is_worth_0(self, files: Files) -> None:
        files.database()
        heap = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000) "
            "SELECT randomblob(900000) FROM n ORDER BY 1"
        )
        rows = heap.removesuffix(" ORDER BY 1")
        with Scorer.start([SQL], files.paths) as scorer:
            given = [completion(text, answer=NUMBERS) for text in (heap, rows, NUMBERS + " WHERE n > 0")]

            assert scorer.score(given).by_reward == ((0.0, 0.0, 1.0),)

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
    def test_a_completion_that_a_process_does_not_survive_is_worth_0(
        self, files: Files, number: signal.Signals
    ) -> None:
        with Scorer.start([DIGITS], files.paths) as scorer:
            process = judge_of(scorer).pid
            os.kill(process, number)

            assert scorer.score([completion("1"), completion("2")]).by_reward == ((0.0, 1.0),)
            assert judge_of(scorer).pid != process


class TestTrial:
    def test_rows_are_judged_by_their_own_answers(self, files: Files) -> None:
        rows = [completion(str(number), answer=str(number)) for number in range(40)]

        scores = try_rewards([DIGITS, SCHEMA], {}, iter(rows))

        assert scores.by_reward == ((1.0,) * 16, (1.0,) * 16)

    def test_every_answer_that_is_to_be_a_query_is_run(self, files: Files) -> None:
        rows = [completion(NUMBERS, answer=NUMBERS) for _ in range(3000)]
        bad = completion("Three.", answer="Three.", prompt="How many are there?")
        paths = files.database()

        assert try_rewards([SQL], paths, rows).by_reward == ((1.0,) * 16,)
        with pytest.raises(
            UserError, match=r"rewards\[1\] \(SQL\).*'How many are there\?'.*syntax error"
        ) as told:
            try_rewards([DIGITS, SQL], paths, [*rows, bad])

        assert told.value.reason == "DatasetInvalid"

    def test_a_reward_that_raises_shows(self, files: Files) -> None:
        paths = files.python("def reward(completions, **kwargs):\n    raise KeyError('color')\n")

        with pytest.raises(UserError, match="line 2: KeyError: 'color'"):
            try_rewards([python_reward()], paths, [completion("a", answer="a")])
