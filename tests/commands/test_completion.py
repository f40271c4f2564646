"""`harness completion`: shells complete every command and option of the real parser, and the names of plugins."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess

import pytest

from harness.cli import parser
from harness.commands.completion import SHELLS, parsers
from harness.registry import load_registry

TOP = parser()
COMMANDS = [each for each in parsers(TOP) if each is not TOP]


def command_words(each: argparse.ArgumentParser) -> list[str]:
    return each.prog.split()


@pytest.fixture
def script(harness, tmp_path):
    """script(shell) -> a file with what the command prints for it."""

    def written(shell):
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        code, out, _ = harness("completion", shell)
        assert code == 0
        file = tmp_path / f"harness.{shell}"
        file.write_text(out)
        return file

    return written


@pytest.fixture
def bash(script):
    """bash(words, ...) -> what bash offers for the last of these words, for each list of words."""
    file = script("bash")

    def offered(*lines):
        asked = "\n".join(
            f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; COMPREPLY=(); "
            f'_shtab_harness; echo "${{COMPREPLY[@]}}"'
            for words in lines
        )
        done = subprocess.run(
            ["bash", "--norc", "-c", f"source {shlex.quote(str(file))}\n{asked}"], capture_output=True, text=True
        )
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return [line.split() for line in done.stdout.split("\n")[: len(lines)]]

    return offered


@pytest.fixture
def fish(script):
    """fish(line, ...) -> what fish offers at the end of each line."""
    file = script("fish")

    def offered(*lines):
        asked = "\n".join(f"complete -C {shlex.quote(line)}; echo ----" for line in lines)
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"source {shlex.quote(str(file))}\n{asked}"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        answers = done.stdout.split("----\n")[: len(lines)]
        return [[line.split("\t")[0] for line in answer.splitlines()] for answer in answers]

    return offered


def options_of(each: argparse.ArgumentParser) -> set[str]:
    return {option for action in each._actions for option in action.option_strings}


def test_bash_offers_every_command(bash):
    (offered,) = bash(["harness", ""])

    assert set(offered) == {command_words(each)[1] for each in COMMANDS}


def test_bash_offers_every_option_of_every_command(bash):
    answers = bash(*([*command_words(each), "-"] for each in COMMANDS))

    for each, offered in zip(COMMANDS, answers, strict=True):
        assert set(offered) == options_of(each), each.prog


def test_fish_offers_every_option_of_every_command(fish):
    answers = fish(*(f"{each.prog} --" for each in COMMANDS))

    for each, offered in zip(COMMANDS, answers, strict=True):
        assert set(offered) >= {option for option in options_of(each) if option.startswith("--")}, each.prog


def test_zsh_takes_the_script_and_it_names_every_option(script):
    file = script("zsh")

    done = subprocess.run(["zsh", "-n", str(file)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    text = file.read_text()
    for each in COMMANDS:
        assert f"_shtab_{'_'.join(command_words(each))}_" in text.replace("-", "_")
        assert all(option in text for option in options_of(each))


def test_names_of_plugins_are_offered_where_one_is_asked_for(bash):
    registry = load_registry()
    defenses, attacks = ({*registry.section(name)} for name in ("defenses", "attacks"))

    answers = bash(
        ["harness", "run", "--defense", ""],
        ["harness", "run", "--attack", "multi"],
        ["harness", "obfuscate", "--defense", ""],
        ["harness", "show", "shuffle"],
        ["harness", "new", "defense", "shuffle"],
        ["harness", "measure", "a", "b", "--metric", ""],
    )

    assert set(answers[0]) == {*defenses, "all"}
    assert answers[1] == ["multi_release"] and "multi_release" in attacks
    assert set(answers[2]) == defenses
    assert answers[3] == ["shuffle_mix"]
    assert answers[4] == []
    assert set(answers[5]) == {*registry.section("metrics")}


def test_plugins_of_a_registry_file_are_among_the_names(harness, registry):
    _, out, _ = harness("completion", "bash", "--registry", registry)

    assert "turn" in next(line for line in out.splitlines() if "run___defense_choices" in line)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_in_the_document(harness, shell):
    _, out, _ = harness("completion", shell)

    code, document, _ = harness("completion", shell, "--json")

    assert code == 0 and json.loads(document) == {"shell": shell, "script": out.removesuffix("\n")}
