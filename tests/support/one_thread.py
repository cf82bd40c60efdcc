"""NumPy's and scikit-learn's linear algebra on one thread, where nothing else is set.

On small matrices further threads wait in a loop for longer than the work takes. Read when NumPy is imported.
"""

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")
