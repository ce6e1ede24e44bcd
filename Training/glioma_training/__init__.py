"""Training of the embedded glioma experts (EnsembleReview): three small networks that differ on purpose."""
