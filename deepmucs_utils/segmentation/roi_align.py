"""ROIAlign on the CPU, for training: the gradient of torchvision's takes most of its time there.

A bin of a region is the mean of samples, each a bilinear mixture of four pixels (He et al., Mask
R-CNN, 2017, section 3), so all bins are a sparse matrix times the pixels, and the gradient is its
transpose times that of the bins. Values equal torchvision's but for the order of summation.
"""

import torch
from detectron2.layers import ROIAlign
from torch.amp import custom_bwd, custom_fwd
from torch.autograd.function import once_differentiable


class SparseROIAlign(ROIAlign):
    """detectron2's ROIAlign, faster where a gradient is needed on the CPU."""

    @classmethod
    def of(cls, align):
        """The same as a given ROIAlign."""
        return cls(align.output_size, align.spatial_scale, align.sampling_ratio, align.aligned)

    def forward(self, input, rois):
        if input.device.type != "cpu" or not input.requires_grad or not len(rois):
            return super().forward(input, rois)
        n, channels, height, width = input.shape
        places, shares = self._taps(rois.detach(), height, width)
        pixels = input.permute(0, 2, 3, 1).reshape(-1, channels)
        bins = _Product.apply(pixels, places, shares)
        return bins.reshape(len(rois), *self.output_size, channels).permute(0, 3, 1, 2)

    def _taps(self, rois, height, width):
        """The pixels that each bin is made of.

        Returns
        -------
        places : Tensor of int, shape (bins, taps)
            Numbers of the pixels, images by rows one after another.
        shares : Tensor, shape (bins, taps)
            Their weights; zero where a bin has fewer taps.
        """
        corners = rois[:, 1:] * self.spatial_scale - (0.5 if self.aligned else 0.0)
        sides = corners[:, 2:] - corners[:, :2]
        if not self.aligned:
            sides = sides.clamp(min=1.0)
        x, x_shares = self._along(corners[:, 0], sides[:, 0], self.output_size[1], width)
        y, y_shares = self._along(corners[:, 1], sides[:, 1], self.output_size[0], height)
        rows = rois[:, 0].long()[:, None, None] * height + y
        places = rows[:, :, None, :, None] * width + x[:, None, :, None, :]
        shares = y_shares[:, :, None, :, None] * x_shares[:, None, :, None, :]
        bins = len(rois) * self.output_size[0] * self.output_size[1]
        return places.reshape(bins, -1), shares.reshape(bins, -1)

    def _along(self, start, side, bins, size):
        """Taps along one axis: pixels and shares, both of shape (regions, bins, 2 × samples)."""
        start, step = start[:, None, None], (side / bins)[:, None, None]
        ratio = self.sampling_ratio
        samples = torch.full_like(step, ratio) if ratio else step.ceil()  # of no width: none
        count = samples.clamp(min=1)
        k = torch.arange(int(count.max()))
        at = start + (torch.arange(bins)[:, None] + (k + 0.5) / count) * step
        used = (k < samples) & (at >= -1) & (at <= size)
        at = at.clamp(0, size - 1)
        low = at.floor()
        shares = torch.stack((low + 1 - at, at - low), -1) * (used / count)[..., None]
        pixels = torch.stack((low, (low + 1).clamp(max=size - 1)), -1)
        return pixels.long().flatten(2), shares.flatten(2)


class _Product(torch.autograd.Function):
    """The matrix of `_taps`, times ``pixels``."""

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, pixels, places, shares):
        taken = shares != 0
        rows = torch.arange(len(shares), dtype=torch.int32)[:, None].expand_as(taken)[taken]
        columns, values = places[taken].int(), shares[taken]
        ctx.save_for_backward(rows, columns, values)
        ctx.size = len(shares), len(pixels)
        return _matrix(rows, columns, values, ctx.size) @ pixels

    @staticmethod
    @once_differentiable
    @custom_bwd(device_type="cpu")
    def backward(ctx, gradient):
        rows, columns, values = ctx.saved_tensors
        columns, order = columns.sort(stable=True)
        transposed = _matrix(columns, rows[order], values[order], ctx.size[::-1])
        return transposed @ gradient.contiguous(), None, None


def _matrix(rows, columns, values, size):
    """A sparse matrix of its entries in the order of the rows."""
    starts = torch.searchsorted(rows, torch.arange(size[0] + 1, dtype=torch.int32), out_int32=True)
    return torch.sparse_csr_tensor(starts, columns, values, size, check_invariants=False)
