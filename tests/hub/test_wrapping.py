"""Whatever a script wrapped around a network: it is found, the averaged one first, and nothing is chosen by chance."""

import official
import pytest
import torch
from safetensors.torch import save_file

from latentzoo import zoo
from latentzoo.errors import CheckpointError
from latentzoo.hub import wrapping
from latentzoo.hub.read import read


def plain():
    """A generator of DCGAN, whose normalisations have statistics."""
    torch.manual_seed(0)
    convolutions = [(5, 8, 1, 0), (8, 6, 2, 1), (6, 4, 2, 1), (4, 3, 2, 1)]
    layers = []
    for i, o, stride, pad in convolutions:
        layers += [torch.nn.ConvTranspose2d(i, o, 4, stride, pad, bias=False)]
        layers += [torch.nn.BatchNorm2d(o), torch.nn.ReLU()] if o > 3 else [torch.nn.Tanh()]
    return torch.nn.Sequential(*layers).requires_grad_(False)


def load(value, tmp_path):
    torch.save(value, tmp_path / "a.pt")
    return zoo.load(tmp_path / "a.pt")


def under(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


PREFIXES = (
    *("module.", "_orig_mod.", "generator.", "G.", "module._orig_mod.", "_orig_mod.module."),
    *("G.module._orig_mod.", "netG.generator.", "model.module."),
)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("safe", [False, True])
def test_wrappings_of_any_order(prefix, safe, toy, tmp_path):
    state = under(prefix, toy)
    if safe:
        save_file(state, tmp_path / "a.safetensors")
        generator = zoo.load(tmp_path / "a.safetensors")
    else:
        generator = load({"epoch": 3, "state_dict": state}, tmp_path)
    assert torch.equal(generator.linear.weight, toy["fc.weight"])


def test_compiled_parts(toy, tmp_path):
    inner = {name.replace("fc.", "fc._orig_mod."): tensor for name, tensor in toy.items()}
    assert torch.equal(load(inner, tmp_path).linear.weight, toy["fc.weight"])


RAW_AND_AVERAGED = [
    *(("g", "g_ema"), ("model", "model_ema"), ("generator", "generator_ema"), ("G", "Gs")),
    *(("generator", "generator_smooth"), ("state_dict", "ema_state_dict"), ("netG", "netG_avg")),
    *(("state_dict", "state_dict_ema"), ("params", "params_ema"), ("generator", "g_running")),
    *(("g", "ema_model"), ("model", "averaged_model"), ("G", "G_swa"), ("first", "first_ema")),
    *(("g", "gEMA"), ("model", "modelEma"), ("generator", "generatorAvg")),
]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(("raw", "averaged"), RAW_AND_AVERAGED)
def test_averaged_weights_go_first(raw, averaged, order, toy, tmp_path):
    state = {raw: {n: t + 1 for n, t in toy.items()}, averaged: toy, "d": {"fc": torch.ones(2)}}
    state = dict(list(state.items())[::order]) | {"optim": {"state": {}, "param_groups": []}}
    assert torch.equal(load(state, tmp_path).linear.weight, toy["fc.weight"])


DEPTHS = (
    *(("generator.", "ema.module."), ("generator.module.", "ema."), ("G.", "G_ema.module.")),
    *(("net.", "ema_model.module._orig_mod."), ("model.", "shadow.inner.module.")),
)


@pytest.mark.parametrize(("raw", "averaged"), DEPTHS)
def test_averaged_weights_go_first_however_often_they_are_wrapped(raw, averaged, toy, tmp_path):
    state = under(raw, {n: t + 1 for n, t in toy.items()}) | under(averaged, toy)
    assert torch.equal(load({"state_dict": state}, tmp_path).linear.weight, toy["fc.weight"])


@pytest.mark.parametrize(("raw", "averaged"), RAW_AND_AVERAGED)
def test_averaged_weights_beside_raw_ones_by_their_names_alone(raw, averaged, toy, tmp_path):
    state = under(f"{raw}.", {n: t + 1 for n, t in toy.items()}) | under(f"{averaged}.", toy)
    save_file(state, tmp_path / "a.safetensors")
    generator = zoo.load(tmp_path / "a.safetensors")
    assert torch.equal(generator.linear.weight, toy["fc.weight"])


def test_an_average_of_the_parameters_takes_the_buffers_beside_it(toy, tmp_path):
    parameters = {n: t + 1 for n, t in toy.items() if n != "fc.bias"}
    found = load({"model": under("module.", toy), "ema": {"shadow": parameters}}, tmp_path)
    assert torch.equal(found.linear.weight, toy["fc.weight"] + 1)
    found = load({"model": under("module.", toy), "ema_helper": parameters}, tmp_path)
    assert torch.equal(found.linear.weight, toy["fc.weight"] + 1)
    assert torch.equal(found.linear.bias, toy["fc.bias"])


def test_lists_of_ddim(toy, tmp_path):
    """[network, optimizer, epoch, step, average], and without the average; a list of two is not told."""
    raw, optimizer = under("module.", toy), torch.optim.Adam([toy["fc.weight"]]).state_dict()
    shadow = {n: t + 1 for n, t in toy.items()}
    found = load([raw, optimizer, 3, 100, shadow], tmp_path)
    assert torch.equal(found.linear.weight, toy["fc.weight"] + 1)
    found = load([raw, optimizer, 3, 100], tmp_path)
    assert torch.equal(found.linear.weight, toy["fc.weight"])
    with pytest.raises(CheckpointError, match=r"'0\.' and '1\.'"):
        load([toy, shadow], tmp_path)


@pytest.mark.parametrize("names", [("first", "second"), ("g_ema", "ema"), ("generator", "best")])
def test_two_that_are_equally_good_are_named(names, toy, tmp_path):
    copies = {name: {n: t + i for n, t in toy.items()} for i, name in enumerate(names)}
    with pytest.raises(CheckpointError, match="several networks that could be meant") as caught:
        load(copies, tmp_path)
    assert all(name in str(caught.value) for name in names) and "\n" not in str(caught.value)


def shadow(network):
    """What torch_ema and ScoreSDE keep: the averages of the parameters, a list."""
    return {"decay": 0.9, "num_updates": 3, "shadow_params": [p.detach() + 1 for p in network]}


LISTS = [
    lambda toy: {"model": under("module.", toy), "ema": shadow(toy.values()), "step": 3},
    lambda toy: {"ema": shadow(toy.values()), "state_dict": toy},
    lambda toy: {"state_dict": toy, **shadow(toy.values())},
    lambda toy: {"model": toy, "ema": list(shadow(toy.values())["shadow_params"])},
    lambda toy: {"g": toy, "d": {"fc": torch.ones(2)}, "ema": shadow(toy.values())},
]


@pytest.mark.parametrize("file", LISTS)
def test_an_average_that_is_a_list_has_the_names_beside_it(file, toy, tmp_path):
    generator = load(file(toy), tmp_path)
    assert torch.equal(generator.linear.weight, toy["fc.weight"] + 1)
    assert torch.equal(generator.linear.bias, toy["fc.bias"] + 1)


def spelt(state, sign="", prefix=""):
    """An average of the parameters as LitEma names it: a module's buffers may have no dots in their names."""
    learned = {n: t for n, t in state.items() if not n.endswith(STATISTICS)}
    return {prefix + n.replace(".", sign): t + 1 for n, t in learned.items()}


SPELT = {
    "beside it, no dots": lambda net: {"model": net, "ema": spelt(net)},
    "beside it, wrapped": lambda net: {"net": under("module.", net), "shadow": spelt(net, "_")},
    "numbered": lambda net: {"model": net, "ema": dict(enumerate(spelt(net).values()))},
    "a list within": lambda net: {"model": net, "ema": {"of": [*spelt(net).values()], "n": 3}},
    "a list and what it was": lambda net: {
        "model": net,
        "ema": {"kept": [t - 1 for t in spelt(net).values()], "averaged": [*spelt(net).values()]},
    },
    "among its names": lambda net: (
        under("model.", net)
        | spelt(net, prefix="model_ema.")
        | {"model_ema.decay": torch.tensor(0.9), "d.conv.weight": torch.ones(3)}
    ),
    "under none": lambda net: {"state_dict": net | spelt(net, ".", "shadow.")},
}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.mark.parametrize("layout", SPELT)
def test_an_average_that_is_spelt_otherwise_has_the_names_and_buffers_beside_it(layout, tmp_path):
    network = plain()
    state = {f"main.{name}": tensor for name, tensor in network.state_dict().items()}
    found = load(SPELT[layout](state), tmp_path).state_dict()
    torch.save(state | spelt(state, "."), tmp_path / "whole.pt")
    whole = zoo.load(tmp_path / "whole.pt").state_dict()
    assert found.keys() == whole.keys() and all(torch.equal(found[n], whole[n]) for n in whole)


def test_two_averages_that_are_spelt_otherwise_are_named(tmp_path):
    state = {f"main.{name}": tensor for name, tensor in plain().state_dict().items()}
    file = state | spelt(state, prefix="ema.") | spelt(state, prefix="swa.")
    with pytest.raises(CheckpointError, match=r"several networks .* 'ema\.' and 'swa\.'"):
        load(file, tmp_path)


def test_a_tied_tensor_is_averaged_under_each_of_its_names(tmp_path):
    """A network tells it once among its parameters, and twice in its state."""
    w, v = torch.zeros(4, 4), torch.ones(4, 4)
    state = {"a.weight": w, "mid.weight": v, "b.weight": w, "bn.running_mean": torch.zeros(4)}
    for average in (
        {"shadow_params": [w + 5, v + 5]},
        {"a.weight": w + 5, "mid.weight": v + 5},
        {"aweight": w + 5, "midweight": v + 5},
    ):
        torch.save({"model": state, "ema": average}, tmp_path / "a.pt")
        found = read(tmp_path / "a.pt").tensors
        assert {n: float(x.flatten()[0]) for n, x in found.items()} == {
            **{"a.weight": 5, "b.weight": 5, "mid.weight": 6, "bn.running_mean": 0}
        }


def test_tensors_in_lists_of_tables_have_no_names(toy, tmp_path):
    with pytest.raises(CheckpointError, match="have no names; save the network's state dict"):
        load({"layers": [{"weight": toy["fc.weight"]}, {"bias": toy["fc.bias"]}]}, tmp_path)


@pytest.mark.parametrize("new", [True, False])
def test_what_torch_itself_cannot_read_again_is_told_with_its_cure(new, toy, tmp_path):
    kind = {"pickle_protocol": 0, "_use_new_zipfile_serialization": new}
    torch.save(toy, tmp_path / "a.pt", **kind)
    with pytest.raises(
        CheckpointError, match=r"protocol 0, .* save the file with another"
    ) as caught:
        zoo.load(tmp_path / "a.pt")
    assert "\n" not in str(caught.value)


HISTORIES = {
    "avg_loss": [torch.ones(()), torch.ones(())],
    "running_losses": [torch.ones(()) for _ in range(3)],  # as many as the network has tensors
    "smoothed": [torch.ones(5)],
    "ema_decay_history": [torch.ones(())] * 40,
    "ema_mean": [torch.ones(12)],  # shaped as one of the network's
}


@pytest.mark.parametrize("name", HISTORIES)
def test_a_list_that_is_called_as_an_average_and_is_none_is_left(name, toy, tmp_path):
    found = load({"state_dict": toy, name: HISTORIES[name]}, tmp_path)
    assert torch.equal(found.linear.weight, toy["fc.weight"])
    found = load({"g": toy, name: HISTORIES[name], "ema": shadow(toy.values())}, tmp_path)
    assert torch.equal(found.linear.weight, toy["fc.weight"] + 1)


def test_an_average_that_is_a_list_knows_no_buffers(tmp_path):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 4)
    )
    network.register_buffer("sigmas", torch.arange(9.0))
    state = network.state_dict()
    torch.save({"model": state, "ema": shadow(network.parameters())}, tmp_path / "a.pt")
    found = read(tmp_path / "a.pt").tensors
    learned = {name for name, _ in network.named_parameters()}
    assert found.keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(found[name], value + 1 if name in learned else value), name


def same(toy):
    return {name: torch.ones(2) for name in toy}


NOT_TOLD = [
    lambda toy: {"model": toy, "ema": {"shadow_params": [torch.ones(2)], "decay": 0.9}},
    lambda toy: {"model": same(toy), "ema": shadow([torch.ones(2)])},  # of two like it
    lambda toy: {"model": toy, "twin": toy, "ema": shadow(toy.values())},
    lambda toy: shadow(toy.values()),
    lambda toy: {"model": toy, "ema": shadow(list(toy.values())[::-1])},
    lambda toy: {"model": toy, "ema": list(toy.values())[::-1]},
]


@pytest.mark.parametrize("file", NOT_TOLD)
def test_an_average_whose_names_are_not_to_be_told_is_not_passed_over(file, toy, tmp_path):
    with pytest.raises(
        CheckpointError, match="names, and nothing beside them tells these surely"
    ) as caught:
        load(file(toy), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layout", "rows"),
    [
        (
            "pSp",
            1,
        ),  # state_dict with encoder., decoder.; latent_avg beside, one row or one per layer
        ("pSp", 8),
        ("e4e", 8),  # and a discriminator with its optimiser
        ("StyleCLIP", 0),  # mapper., decoder. and no mean
        ("StyleGAN-NADA", 0),  # g_ema alone, and an optimiser
    ],
)
def test_the_layouts_of_those_who_train_beside_stylegan2(layout, rows, tmp_path):
    g_ema, _ = official.state("stylegan2", "s32_d64_m4")
    net = {k: v for k, v in g_ema.items() if k != "latent_avg"}
    beside = {"StyleCLIP": "mapper.course_mapping.mapping.0.weight"}.get(
        layout, "encoder.body.0.res_layer.0.weight"
    )
    whole = {f"decoder.{k}": v for k, v in net.items()} | {beside: torch.ones(2, 2)}
    file = {"state_dict": whole, "opts": {"start_from_latent_avg": True, "output_size": 32}}
    mean = torch.arange(64.0)
    if rows:
        file["latent_avg"] = mean.repeat(rows, 1)
    if layout == "e4e":
        file |= {
            "discriminator_state_dict": {"fc_mlp.0.weight": torch.ones(2)},
            "optimizer": {"state": {}},
        }
    if layout == "StyleGAN-NADA":
        file = {"g_ema": net, "g_optim": {"state": {}, "param_groups": []}}
    torch.save(file, tmp_path / "best_model.pt")
    generator = zoo.load(tmp_path / "best_model.pt")
    assert torch.equal(generator.synthesis.const, net["input.input"][0])
    if rows:
        assert torch.equal(generator.w_avg.reshape(-1, 64)[0], mean)


def test_what_is_trained_beside_a_decoder(toy, tmp_path):
    state = under("decoder.", toy) | {"encoder.body.0.weight": torch.ones(2)}
    found = load({"state_dict": state, "latent_avg": torch.ones(4)}, tmp_path)
    assert torch.equal(found.linear.weight, toy["fc.weight"])


def test_a_part_of_a_larger_model_is_not_taken_for_it(toy, tmp_path):
    state = under("model.", toy) | {"first_stage.conv.weight": torch.ones(2)}
    with pytest.raises(CheckpointError, match="no family"):
        load(state, tmp_path)


@pytest.mark.parametrize("name", ["g_ema", "G_EMA", "Gs", "netG_avg", "generator_smooth", "ema.G"])
def test_names_of_averages(name):
    assert wrapping.is_averaged(name)


@pytest.mark.parametrize("name", ["g", "generator", "gs_net", "schema", "average_pool_x1", "mega"])
def test_names_of_others(name):
    assert wrapping.is_averaged(name) == (name == "average_pool_x1")


def test_what_a_training_keeps_beside_the_weights_is_no_weight(toy, tmp_path):
    counts = {"global_step": torch.tensor(3), "epoch": torch.tensor([1]), "iter": torch.tensor(7)}
    beside = {
        "rng_state": torch.get_rng_state(),
        "seen": torch.arange(3),
        "best": torch.tensor(2.5),
    }
    for file in (
        {"g_ema": toy, **beside, **counts},
        {**toy, **counts},
        under("net.", toy) | counts,
    ):
        assert torch.equal(load(file, tmp_path).linear.weight, toy["fc.weight"])
    with pytest.raises(CheckpointError, match=r"no rule for 1 tensors \(losses\)"):
        load({"g_ema": toy, "losses": torch.zeros(3)}, tmp_path)


COUNTERS = {
    "num_updates": torch.tensor(3),
    "model.num_updates": torch.tensor(3),
    "inner.n_averaged": torch.tensor([5]),
    "ema.initted": torch.tensor(True),
    "a.b.step": torch.tensor(7.0),
}


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_counters_of_averages_and_trainings_are_none_of_a_network(prefix, toy, tmp_path):
    found = load(under(prefix, toy | COUNTERS), tmp_path)
    assert torch.equal(found.linear.weight, toy["fc.weight"])


def test_a_tensor_that_is_named_as_a_counter_and_is_none_is_not_passed_over(toy, tmp_path):
    with pytest.raises(CheckpointError, match=r"a\.step"):
        load(toy | {"a.step": torch.ones(2, 2)}, tmp_path)


def test_nor_is_one_in_copies_that_are_wrapped_unequally(toy, tmp_path):
    state = toy | {"x.step": torch.ones(2, 2)}
    raw = under("generator.", {n: t + 1 for n, t in state.items()})
    for averaged in ("ema.module.", "ema."):
        for tell in (lambda s: s, lambda s: {"g": s, "epoch": 3}):
            with pytest.raises(CheckpointError, match=r"x\.step"):
                load(tell(raw | under(averaged, state)), tmp_path)


def test_copies_are_alike_whatever_one_of_them_counts(toy, tmp_path):
    state = {"g": toy, "g_ema": toy | {"n_averaged": torch.tensor(5)}}
    assert torch.equal(load(state, tmp_path).linear.weight, toy["fc.weight"])


@pytest.mark.parametrize("name", official.FILES)
def test_counters_beside_the_tensors_of_every_family(name, tmp_path):
    from latentzoo.hub.read import read

    family, write, options = official.FILES[name]
    tensors = {k: v.clone().contiguous() for k, v in read(write(tmp_path)).tensors.items()}
    torch.save(tensors | COUNTERS, tmp_path / "a.pt")
    assert zoo.load(tmp_path / "a.pt", family=family, **options).size
