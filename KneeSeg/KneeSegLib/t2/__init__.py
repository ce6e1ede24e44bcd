"""T2 relaxation times: signal models, their inversion, and maps of a scan.

    steady_state, phase_graphs (signal of a sequence) --> qdess, multi_echo (T2 from signals) --> maps (T2 of a scan)
"""
