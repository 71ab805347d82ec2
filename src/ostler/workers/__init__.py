"""The daemon on a machine that runs attempts, and what it runs them with.

    hub <-- link --> Worker (daemon) --> AttemptPool --> one attempt --> Runner (command, chat) [--> Verifier]
                        |                                                   |
                        +--> ProcessGuard <-- pipe --> reaper process       +--> process groups, model endpoints

Invariants, each kept by one module:
- A worker acts only while its hub is sure to count it as alive (`lease`). Before the hub may give an attempt to
  another worker, everything the attempt started here is dead: killed by the daemon (`daemon`), or, when the daemon
  itself is dead or frozen, by its companion (`companion`).
- What a task may run is decided before anything runs (`rules`), and an attempt never leaves a process (`processes`).
- The end of an attempt is reported until the hub has it (`delivery`).
"""
