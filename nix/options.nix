# The options `archibald.*`: one for each option of a profile, with the profile's value as default,
# and what the other modules read. Declared from nix/profile.json, so none is declared twice.
{ config, lib, pkgs, ... }:
let
  profile = import ./profile.nix;
  render = import ./render.nix;
  support = import ./support.nix;
  inherit (profile) model;
  inherit (lib) mkOption types;

  cfg = config.archibald;

  # The profile as it was given, complete; `problems` says what was wrong in it.
  given = profile.resolve (if builtins.isAttrs cfg.profile then cfg.profile else profile.read cfg.profile);

  tableNames = builtins.filter (name: name != "" && name != "variant") (builtins.attrNames model.tables);

  largest = 9007199254740991;

  typeOf = schema:
    if schema ? anyOf then builtins.foldl' types.either (typeOf (builtins.head schema.anyOf)) (map typeOf (builtins.tail schema.anyOf))
    else if schema ? const then types.enum [ schema.const ]
    else if schema ? enum then types.enum schema.enum
    else if schema.type == "integer" then types.ints.between (schema.minimum or (0 - largest)) (schema.maximum or largest)
    else if schema.type == "boolean" then types.bool
    else if schema.type == "array" then types.listOf (typeOf schema.items)
    else if schema ? pattern then types.strMatching schema.pattern
    else types.str;

  optionOf = table: name: declared: mkOption {
    type = typeOf declared.schema;
    default = given.values.${table}.${name};
    defaultText = lib.literalMD "`${table}.${name}` of `archibald.profile`";
    example = lib.literalExpression declared.example;
    description = "${declared.description} Takes: ${declared.allowed}.";
  };

  # With what this configuration sets itself. Types do not say all that a profile promises (an option
  # may want no element twice), so everything is checked again.
  checked = profile.resolve (given.values // builtins.listToAttrs (map
    (table: { name = table; value = builtins.mapAttrs (name: _: cfg.${table}.${name}) model.tables.${table}; })
    tableNames));
  inherit (checked) values;

  settings = render {
    inherit values;
    version = cfg.version;
    keysPath = "/etc/archibald/keys.txt";
    program = "${cfg.package}/bin/archibald";
    shell = pkgs.runtimeShell;
  };

  problems =
    if given.problems != [ ] then given.problems
    else if checked.problems != [ ] then checked.problems
    else support.mistakes values ++ settings.problems
      ++ support.unsupportedWith (builtins.attrNames cfg.packageNames) values;

  # A Debian name → the package; names that nobody knows are assertions, so they are left out here.
  packageOf = name:
    if cfg.packageNames ? ${name} then [ cfg.packageNames.${name} ]
    else
      let attribute = support.attribute name;
      in if attribute == null then [ ]
      else [ (lib.attrByPath (lib.splitString "." attribute) (throw "archibald: nixpkgs has no ${attribute}") pkgs) ];
in
{
  options.archibald = {
    profile = mkOption {
      type = types.either types.path (types.attrsOf types.anything);
      default = { };
      example = lib.literalExpression "./archibald.toml";
      description = "The profile: a TOML file, or the same as an attribute set. Empty: the defaults.";
    };

    packageNames = mkOption {
      type = types.attrsOf types.package;
      default = { };
      example = lib.literalExpression "{ my-synth = pkgs.callPackage ./my-synth.nix { }; }";
      description = "Packages for Debian names in the profile that archibald does not know.";
    };

    package = mkOption {
      type = types.package;
      default = pkgs.archibald;
      defaultText = lib.literalExpression "pkgs.archibald";
      description = "The package of the `archibald` command.";
    };

    session.enable = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Keep CPUs out of deep sleep (/dev/cpu_dma_latency) and the audio card's interrupts first from
        boot on, whether PipeWire runs or not. Off, `realtime.keep_awake` and `realtime.card_first` of
        the profile do it while somebody plays.
      '';
    };

    version = mkOption {
      type = types.str;
      default = (builtins.fromTOML (builtins.readFile ../packages/archibald/pyproject.toml)).project.version;
      internal = true;
      readOnly = true;
      description = "Version of ArchibaldOS.";
    };

    values = mkOption {
      type = types.raw;
      default = values;
      internal = true;
      readOnly = true;
      description = "The profile with what this configuration has set.";
    };

    settings = mkOption {
      type = types.raw;
      default = settings;
      internal = true;
      readOnly = true;
      description = "What nix/render.nix makes of the values.";
    };

    packagesFor = mkOption {
      type = types.raw;
      default = names: builtins.concatMap packageOf (support.withoutDoubles names);
      internal = true;
      readOnly = true;
      description = "From Debian names to packages.";
    };
  } // builtins.listToAttrs (map
    (table: { name = table; value = builtins.mapAttrs (optionOf table) model.tables.${table}; })
    tableNames);

  config.assertions = map
    (problem: { assertion = false; message = "archibald: ${problem}"; })
    problems;
}
