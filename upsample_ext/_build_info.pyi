# What setup.py writes beside the extension; which values it has is known once that is built.
torch: str
cuda: str | None
cuda_arch_list: str
