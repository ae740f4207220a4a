"""Synapse, which ends with whoever started it, also when that one is killed: its input closes then.

An argument more than the settings file is a folder to take along.
"""

import os
import shutil
import sys
import threading


def end_with_parent(folders):
    # Not through `sys.stdin`, whose lock the end of an interpreter would wait for.
    while os.read(0, 1024):
        pass
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    conf, *folders = sys.argv[1:]
    threading.Thread(target=end_with_parent, args=(folders,), daemon=True).start()
    sys.argv = ["synapse", "-c", conf]
    from synapse.app.homeserver import main

    main()
