"""The affine-combining autoencoder, which finds latent points of a skeleton."""

import keras
import tensorflow as tf

from metro_tf import skeleton
from metro_tf.layers import affine_combination


@keras.utils.register_keras_serializable(package='metro_tf')
class AffineAutoencoder(keras.Model):
    """Poses to few latent points and back, each point a weighted mean of the others.

    Mirrored poses have mirrored latent points. Trained with `losses.perspective_loss`; that weights
    be sparse is a loss of the model's own.

    Source: Sarandi et al., WACV 2023.

    Args:
        joint_names: Sequence of names out of the vocabulary of `skeleton`.
        n_latent_pairs: Number of latent points on each side.
        n_central_latents: Number of latent points in the middle.
        sparsity: Weight of the mean absolute weight of encoder and decoder together.
        **kwargs: Arguments of `keras.Model`.

    Call arguments:
        inputs: Float tensor `[batch, joints, 3]`, mm, any frame.

    Returns:
        Float32 tensor of the same shape.
    """

    def __init__(
            self, joint_names, n_latent_pairs=20, n_central_latents=8, sparsity=0.6, **kwargs):
        super().__init__(**kwargs)
        self.skeleton = skeleton.Skeleton(tuple(joint_names), ())
        self.n_latent_pairs = n_latent_pairs
        self.n_central_latents = n_central_latents
        self.sparsity = sparsity
        joints = self.skeleton.mirror_mapping
        latents = affine_combination.latent_mirror_mapping(n_latent_pairs, n_central_latents)
        self.encoder = affine_combination.AffineCombination(
            len(joints), len(latents), joints, latents, name='encoder')
        self.decoder = affine_combination.AffineCombination(
            len(latents), len(joints), latents, joints, name='decoder')
        self.build()

    def build(self, input_shape=None):
        self.encoder.build((None, self.encoder.n_inputs, 3))
        self.decoder.build((None, self.decoder.n_inputs, 3))
        self.built = True

    @property
    def joint_names(self):
        """Tuple of the names of the joints."""
        return self.skeleton.joint_names

    @property
    def n_latents(self):
        """Number of latent points."""
        return self.encoder.n_outputs

    def call(self, inputs, training=False):
        self.add_loss(self.sparsity * tf.add_n([
            tf.reduce_mean(tf.abs(layer.matrix())) for layer in (self.encoder, self.decoder)]))
        return self.decoder(self.encoder(inputs))

    def get_config(self):
        return {
            **super().get_config(), 'name': self.name, 'joint_names': list(self.joint_names),
            'n_latent_pairs': self.n_latent_pairs, 'n_central_latents': self.n_central_latents,
            'sparsity': self.sparsity}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes the model that `get_config` describes, with new weights."""
        return cls(**config)
