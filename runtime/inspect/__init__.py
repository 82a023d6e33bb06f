"""Looking into a training: are its gradients right, can it learn a batch, what do its values look like, where does its
time go."""
