"""Training of the embedded glioma experts (EnsembleReview): four small networks that differ on purpose."""
