"""One experiment from start to clean-up."""

from __future__ import annotations

import atexit
import dataclasses
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from streamlab.errors import UnsupportedError, UsageError
from streamlab.lab.experiment import Experiment
from streamlab.lab.forkserver import ForkServer
from streamlab.lab.progress import Watcher
from streamlab.lab.session import Session, explained
from streamlab.servers import OwnServer, Server, open_server

if TYPE_CHECKING:
    from streamlab.live.dashboard import Dashboard
    from streamlab.live.run import LiveRun
    from streamlab.report import Repeats, Run


class Lab:
    """A Redis of its own, and experiments on it.

        lab = Lab()
        run = lab.run(Experiment(workload=ResizeImages(count=300, rate=100), faults=[Kill("worker-2", at=1.5)]))
        run.verdict

    Args:
        server: "auto" (a container if Docker answers, else a private process), "process", "container", an image such
            as "redis:7.0", a URL, or a `Server`, which stays the caller's to stop. None: what the environment variable
            STREAMLAB_SERVER says, else "auto".
        say: told in one line which server that is, and what happens in a run. None: `print`, or nothing where the
            server is the caller's.

    The server is stopped by `close`, at the end of a `with` block, or when Python ends.
    """

    def __init__(self, server: str | Server | None = None, *, say: Callable[[str], None] | None = None) -> None:
        self._ours = not isinstance(server, Server)
        say = self._say = say or (print if self._ours else lambda _: None)
        self._live: LiveRun | None = None
        # It loads its modules while the server starts.
        self._spare: ForkServer | None = ForkServer() if self._ours else None
        try:
            self.server = open_server(server, say=say)
        except BaseException:
            if self._spare:
                self._spare.close()
            raise
        if self._ours:
            atexit.register(self.close)

    def run(
        self,
        experiment: Experiment,
        *,
        out: str | Path | None = None,
        progress: Watcher | None = None,
    ) -> Run:
        """Do an experiment, and return what can be known about it.

        Args:
            experiment: what to do.
            out: folder for the history; it must be new or empty. None: a temporary one, removed with the `Run`.
            progress: told about ten times a second how far it is.

        Raises:
            UsageError: a fault that names no worker, a folder that is in use.
            ServerError: Redis or a worker did not come up.
            KeyboardInterrupt: after everything was stopped; what was recorded stays in the folder.
        """
        folder = Folder(out, experiment.name)
        with (
            folder,
            self._forkserver() as forkserver,
            self._server_for(experiment) as server,
            explained(server, folder.path),
            Session(
                server, experiment, folder.path, say=self._say, progress=progress, forkserver=forkserver
            ) as session,
        ):
            session.run()
        from streamlab.report import Run  # brings pandas, which takes longer to load than most mistakes to find

        return Run(folder.path, owner=folder)

    def repeat(
        self,
        experiment: Experiment,
        times: int,
        *,
        out: str | Path | None = None,
        progress: Watcher | None = None,
        command: str = "streamlab run FILE",
    ) -> Repeats:
        """Do an experiment several times, each time with the next seed, beginning with the experiment's own.

        Args:
            experiment: what to do.
            times: how often.
            out: folder for the histories, one in it for each seed; it must be new or empty. None: a temporary one for
                each run, removed with its `Run`.
            progress: as for `run`.
            command: what does one of the runs again, for the reader; the seed is added.

        Raises: as `run`.
        """
        from streamlab.report import Repeats

        if isinstance(times, bool) or not isinstance(times, int) or times < 1:
            raise UsageError(f"times={times!r}: expected a whole number, 1 or more")
        runs = {}
        with Folder(out, experiment.name) if out else nullcontext():
            for seed in range(experiment.seed, experiment.seed + times):
                mine = dataclasses.replace(experiment, seed=seed)
                runs[seed] = self.run(mine, out=Path(out) / f"seed-{seed}" if out else None, progress=progress)
                self._say(f"seed {seed}: {runs[seed].verdict}")
        return Repeats(runs, command)

    def live(
        self,
        experiment: Experiment | None = None,
        *,
        out: str | Path | None = None,
        at_most: float = 600.0,
    ) -> Dashboard:
        """Begin a run that goes on, and return its dashboard: moving pictures, and buttons that break it.

            dashboard = lab.live()
            dashboard               # in a notebook, as the last line of a cell
            dashboard.stop().verdict

        Args:
            experiment: what to do; its workload's count is how many jobs there are at most. None: jobs that wait.
            out: as for `run`.
            at_most: seconds after which it stops by itself.

        Raises: as `run`; and UsageError while another live run of this lab goes on, since they share a Redis.
        """
        from streamlab.live.dashboard import Dashboard  # brings widgets and pictures
        from streamlab.live.run import default_experiment, start

        if self._live and self._live.state != "stopped":
            raise UsageError(
                f"the live run in {self._live.folder} still goes on: press Stop in its dashboard, or make another Lab()"
            )
        it = experiment or default_experiment()
        self._live = start(self._server_for(it), it, Folder(out, it.name), self._say, at_most)
        return Dashboard(self._live)

    def _forkserver(self) -> ForkServer:
        forkserver, self._spare = self._spare or ForkServer(), None
        return forkserver

    @contextmanager
    def _server_for(self, experiment: Experiment) -> Iterator[Server]:
        """The lab's server; or, for this one run, another of its kind, where the experiment needs other persistence."""
        wanted = experiment.persistence
        if not wanted or wanted == self.server.persistence:
            yield self.server
        elif not isinstance(self.server, OwnServer):
            raise UnsupportedError(
                f"persistence = {wanted!r}: how somebody else's Redis keeps its data is its owner's business: "
                "leave it out, or use --server process or container"
            )
        else:
            with self.server.another(wanted) as server:
                self._say(f"server: {server.description} (persistence {wanted})")
                yield server

    def close(self) -> None:
        """Break off a live run that goes on; stop the server, if it is the lab's own."""
        if self._live:
            self._live.break_off()
        if self._spare:
            self._spare.close()
        if self._ours:
            self.server.stop()
            atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Folder:
    """The folder of a run: the user's, or a temporary one that is removed with this object, at the latest with Python.

    Raises UsageError for one that is in use or cannot be made.

    Attributes:
        path: where it is.
    """

    def __init__(self, out: str | Path | None, name: str) -> None:
        if out is None:
            self.path = Path(tempfile.mkdtemp(prefix=f"streamlab-{name}-"))
            weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
            return
        self.path = Path(out)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            empty = not any(self.path.iterdir())
        except OSError as error:
            raise UsageError(
                f"{out} cannot be the run's folder ({error.strerror or error}): name one that can be made"
            ) from error
        if not empty:
            raise UsageError(f"{out} is not empty: name a new folder, or remove it first")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing of a run that was refused before it began."""
        with suppress(OSError):  # something is in it
            self.path.rmdir()
