"""Photos: what they are, where they are kept, what is in them, and the states they go through."""

import os

# Read by the libraries when they are imported, which happens below this package and before actors
# are forked. onnxruntime would report to its makers over the network, numpy's algebra would start
# threads that no fork has.
os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
