"""
The models for images in plain torch modules, with torchvision's names, built from a config.json:
what check_fish_resnet.py and make_fish_golden_resnet.py hold libfish against.
"""
import torch
from torch import nn


def conv(c_in, c_out, kernel, stride):
    return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)


class Basic(nn.Module):
    expansion = 1

    def __init__(self, c_in, planes, inner, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(c_in, planes, 3, stride), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = conv(planes, planes, 3, 1), nn.BatchNorm2d(planes)
        self.downsample = None
        if stride != 1 or c_in != planes:
            self.downsample = nn.Sequential(conv(c_in, planes, 1, stride), nn.BatchNorm2d(planes))

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, c_in, planes, inner, stride):
        super().__init__()
        out = 4 * planes
        self.conv1, self.bn1 = conv(c_in, inner, 1, 1), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = conv(inner, inner, 3, stride), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = conv(inner, out, 1, 1), nn.BatchNorm2d(out)
        self.downsample = None
        if stride != 1 or c_in != out:
            self.downsample = nn.Sequential(conv(c_in, out, 1, stride), nn.BatchNorm2d(out))

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(y))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Module):
    def __init__(self, config):
        super().__init__()
        kind = Bottleneck if config.get("block", "basic") == "bottleneck" else Basic
        stem = config.get("stem", "imagenet")
        layers = config["layers"]
        widths = config.get("widths", [config.get("width", 64) << i for i in range(len(layers))])
        eps = config.get("norm_eps", 1e-5)
        c = widths[0]
        large = stem == "imagenet"
        self.conv1 = conv(config.get("in_channels", 1), c, 7 if large else 3, 2 if large else 1)
        self.bn1 = nn.BatchNorm2d(c)
        self.maxpool = nn.Identity() if stem == "small" else nn.MaxPool2d(3, 2, 1)
        self.n_stages = len(layers)
        for s, (n, planes) in enumerate(zip(layers, widths)):
            blocks = []
            for i in range(n):
                inner = planes * config.get("width_per_group", 64) // 64
                blocks.append(kind(c, planes, inner, 2 if s and not i else 1))
                c = planes * kind.expansion
            setattr(self, f"layer{s + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(c, config["num_labels"])
        for m in self.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.eps = eps
            if isinstance(m, nn.Conv2d):  # as torchvision begins
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        for s in range(self.n_stages):
            x = getattr(self, f"layer{s + 1}")(x)
        return self.fc(x.mean((2, 3)))


def mlp(config):
    sizes = config["sizes"]
    parts = []
    for a, b in zip(sizes, sizes[1:]):
        parts += [nn.Linear(a, b), nn.GELU() if config.get("activation") == "gelu" else nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def image_shape(config):
    """(channels, height, width)"""
    c = config.get("in_channels", 1)
    size = config.get("image_size")
    if size is None:
        side = int((config["sizes"][0] // c) ** 0.5)
        return c, side, side
    return (c, *size) if isinstance(size, list) else (c, size, size)


class Flat(nn.Module):
    """An MLP that takes images."""

    def __init__(self, config):
        super().__init__()
        self.net = mlp(config)

    def forward(self, x):
        return self.net(x.flatten(1))


def build(config):
    return ResNet(config) if config["model_type"] == "resnet" else Flat(config)


def tensors(model):
    """The checkpoint of a model, without num_batches_tracked."""
    state = model.net.state_dict() if isinstance(model, Flat) else model.state_dict()
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def gradients(model):
    inner = model.net if isinstance(model, Flat) else model
    return {k: p.grad for k, p in inner.named_parameters()}
