# Sourced by the scripts beside it: lets the loader find CUDA's libraries in Python packages, where a toolkit is not
# installed for the whole system. Folders that are on LD_LIBRARY_PATH already come first.

python_folders() {
    command -v python3 >/dev/null || return 0
    python3 - <<'PYTHON'
import glob
import os
import sys

folders = [f for entry in sys.path if entry for f in sorted(glob.glob(os.path.join(entry, "nvidia", "*", "lib")))]
print(":".join(folders))
PYTHON
}

export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/local/cuda/lib64:$(python_folders)"
