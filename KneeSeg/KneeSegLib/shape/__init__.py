"""Shape models of a bone with its cartilage: fitting them, what a fit leaves over, and scores in their latent space.

Shape is told in signed distances: negative inside the bone, and inside bone and cartilage together.
"""

#: Task of the model cards of shape models.
TASK = "bone_shape"
