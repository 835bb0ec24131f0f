"""Look inside a network: its kernels, what each layer answers, what an answer rests on, and what noise alone does.

Nothing here needs more than torch and numpy; the fits of kernels need scipy.
"""
