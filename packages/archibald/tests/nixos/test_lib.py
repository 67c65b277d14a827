"""The small module system that the checks evaluate with: it merges as NixOS does."""

from __future__ import annotations

from importlib import resources

import pytest

from archibald.nixos.evaluate import evaluate

_CASES = """\
{ input }:
let
  given = builtins.fromJSON (builtins.readFile input);
  lib = import given.lib;
  inherit (lib) mkOption types mkIf mkMerge mkForce mkDefault;
  options = {
    x = mkOption { type = types.ints.between 0 99; default = 1; };
    list = mkOption { type = types.listOf types.str; default = [ ]; };
    set = mkOption { type = types.attrsOf types.anything; default = { }; };
    on = mkOption { type = types.bool; default = false; };
    fixed = mkOption { type = types.str; default = "a"; readOnly = true; };
    needed = mkOption { type = types.str; };
  };
  system = modules: lib.evalModules {
    modules = [ { inherit options; } ] ++ modules;
    arguments = { };
  };
  value = name: modules:
    let found = (system modules).config.${name};
    in builtins.tryEval (builtins.deepSeq found found);
  outside = modules: map (d: [ d.path d.priority d.value ]) (system modules).definitions;
in
{
  default = value "x" [ ];
  defined = value "x" [ { x = 2; } ];
  forced = value "x" [ { x = 2; } { x = mkForce 3; } { x = mkDefault 4; } ];
  weak = value "x" [ { x = mkDefault 4; } ];
  same = value "x" [ { x = 2; } { x = 2; } ];
  conflict = value "x" [ { x = 2; } { x = 3; } ];
  wrongType = value "x" [ { x = "2"; } ];
  outOfRange = value "x" [ { x = 100; } ];
  off = value "x" [ { x = mkIf false 7; } ];
  on = value "x" [ ({ config, ... }: { x = mkIf config.on 7; }) { on = true; } ];
  around = value "x" [ ({ config, ... }: { config = mkIf config.on { x = 8; }; }) { on = true; } ];
  lists = value "list" [ { list = [ "a" ]; } { list = mkMerge [ [ "b" ] (mkIf false [ "c" ]) ]; } ];
  lostList = value "list" [ { list = mkDefault [ "a" ]; } { list = [ "b" ]; } ];
  sets = value "set" [ { set.a = 1; } { set.b = 2; } ];
  readOnly = value "fixed" [ { fixed = "b"; } ];
  undefined = value "needed" [ ];
  imported = value "list" [
    { imports = [ { key = "k"; list = [ "a" ]; } { key = "k"; list = [ "a" ]; } ]; }
  ];
  places = value "list" [ { imports = [ { list = [ "a" ]; } { list = [ "b" ]; } ]; } ];
  inConfig = builtins.tryEval (outside [ { nixpkgs.config.allowUnfree = mkIf true true; } ]);
  aroundConfig = outside [ { nixpkgs.config = mkIf true { allowUnfree = true; }; } ];
  twice = builtins.tryEval (system [ { options.x = mkOption { type = types.str; }; } ]).declared;
  alias = value "x" [ (lib.mkAliasOptionModule [ "other" "y" ] [ "x" ]) { other.y = 5; } ];
  noAlias = value "x" [ (lib.mkAliasOptionModule [ "other" "y" ] [ "x" ]) ];
  asked = map (d: d.value) ((system [
    { a.b = 1; }
    { a = mkIf false { b = 2; }; }
    { a.b = mkForce 3; }
  ]).definitionsOf [ "a" "b" ]);
  outside = outside [
    { services.a = { b = mkForce 1; c = mkIf false 2; }; }
    { config = mkIf false { services.d = 1; }; }
    { config = mkMerge [ { services.e = [ 1 ]; } { services.f = { }; } ]; }
  ];
}
"""


@pytest.fixture(scope="module")
def cases(tree, tmp_path_factory):
    file = tmp_path_factory.mktemp("lib") / "cases.nix"
    file.write_text(_CASES, encoding="utf-8")
    with resources.as_file(resources.files("archibald.nixos") / "lib.nix") as lib:
        return evaluate(file, {"lib": str(lib)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("default", 1), ("defined", 2), ("forced", 3), ("weak", 4), ("same", 2), ("off", 1),
        ("on", 7), ("around", 8), ("lists", ["a", "b"]), ("lostList", ["b"]),
        ("alias", 5), ("noAlias", 1),
        ("sets", {"a": 1, "b": 2}), ("imported", ["a"]), ("places", ["a", "b"]),
    ],
)  # fmt: skip
def test_definitions_are_merged_by_priority_and_type(cases, name, value):
    assert cases[name] == {"success": True, "value": value}


@pytest.mark.parametrize(
    "name", ["conflict", "wrongType", "outOfRange", "readOnly", "undefined"]
)  # fmt: skip
def test_what_nixos_refuses_is_refused(cases, name):
    assert cases[name] == {"success": False, "value": False}


def test_definitions_of_other_options_are_listed_where_they_hold(cases):
    assert cases["outside"] == [
        [["services", "a", "b"], 50, 1],
        [["services", "e"], 100, [1]],
        [["services", "f"], 100, {}],
    ]


def test_nixos_does_not_look_for_conditions_inside_of_the_configuration_of_nixpkgs(cases):
    assert cases["inConfig"] == {"success": False, "value": False}
    assert cases["aroundConfig"] == [[["nixpkgs", "config", "allowUnfree"], 100, True]]


def test_an_option_is_declared_once(cases):
    assert cases["twice"] == {"success": False, "value": False}


def test_the_definitions_of_one_option_can_be_asked_for(cases):
    assert cases["asked"] == [1, 3]
