# The part of nixpkgs' module system that nix/ uses, small enough to read: options with types and
# defaults, mkIf, mkMerge, priorities. What modules define for options of NixOS itself is listed, not
# merged: the list is compared with the names and types of NixOS.
#
# result of evalModules: { config = our own options; definitions = [ { path, priority, value } ]; }
let
  inherit (builtins)
    all attrNames attrValues concatLists concatMap elem elemAt filter foldl' genericClosure hasAttr
    head isAttrs isBool isFunction isInt isList isPath isString length listToAttrs map mapAttrs match
    sort tail toJSON;

  defaultPriority = 100;
  optionDefault = 1500;

  override = priority: content: { _type = "override"; inherit priority content; };

  types = rec {
    make = name: check: { inherit name check; };
    bool = make "boolean" isBool;
    str = make "string" isString;
    strMatching = pattern: make "string matching ${pattern}" (v: isString v && match pattern v != null);
    path = make "path" (v: isPath v || (isString v && match "/.*" v != null) || isPackage v);
    package = make "package" isPackage;
    anything = make "anything" (_: true);
    raw = anything;
    enum = values: make "one of ${toJSON values}" (v: elem v values);
    ints.between = low: high: make "integer from ${toString low} to ${toString high}" (v: isInt v && v >= low && v <= high);
    listOf = inner: make "list of ${inner.name}" (v: isList v && all inner.check v);
    attrsOf = inner: make "attribute set of ${inner.name}" (v: isAttrs v && all inner.check (attrValues v));
    nullOr = inner: make "null or ${inner.name}" (v: v == null || inner.check v);
    either = one: other: make "${one.name} or ${other.name}" (v: one.check v || other.check v);
  };

  isPackage = value: isAttrs value && (value.type or "") == "derivation";
  kindOf = value: if isAttrs value then value._type or (if isPackage value then "package" else "set") else "value";

  # Every definition below a value whose conditions hold: what is off is not looked at.
  # stop: path -> bool, where a definition ends although it is an attribute set.
  definitionsIn = stop: path: context: value:
    let kind = kindOf value;
    in
    if opaque path && elem kind [ "if" "merge" "override" "order" ] then
      throw "${dotted path} has a condition or priority of its own, at which NixOS does not look"
    else if kind == "if" then (if value.condition then definitionsIn stop path context value.content else [ ])
    else if kind == "merge" then concatMap (definitionsIn stop path context) value.contents
    else if kind == "override" then definitionsIn stop path (context // { inherit (value) priority; }) value.content
    else if kind == "order" then definitionsIn stop path context value.content
    else if kind == "set" && !(stop path) && value != { } then
      concatMap (name: definitionsIn stop (path ++ [ name ]) context value.${name}) (attrNames value)
    else [ (context // { inherit path value; }) ];

  # NixOS joins these sets as they are.
  opaque = path: length path > 2 && elemAt path 0 == "nixpkgs" && elemAt path 1 == "config";

  # The definitions of one path in a configuration, without looking at any other; conditions stay
  # unevaluated, because they may ask for other options.
  definitionsAt = path: context: value:
    let kind = kindOf value;
    in
    if kind == "if" then definitionsAt path (context // { active = context.active && value.condition; }) value.content
    else if kind == "merge" then concatMap (definitionsAt path context) value.contents
    else if kind == "override" then definitionsAt path (context // { inherit (value) priority; }) value.content
    else if path == [ ] then [ (context // { inherit value; }) ]
    else if kind == "set" && hasAttr (head path) value then definitionsAt (tail path) context value.${head path}
    else [ ];

  start = { active = true; priority = defaultPriority; };

  dotted = path: builtins.concatStringsSep "." path;

  # --- options ----------------------------------------------------------------------------------

  # { "a.b" = { path; option; } } of a tree of options.
  flat = path: tree:
    if (tree._type or "") == "option" then [ { inherit path; option = tree; } ]
    else concatMap (name: flat (path ++ [ name ]) tree.${name}) (attrNames tree);

  merged = option: path: definitions:
    let
      all = definitions ++ (if option ? default then [ { active = true; priority = optionDefault; value = option.default; } ] else [ ]);
      active = filter (d: d.active) all;
      best = foldl' (low: d: if d.priority < low then d.priority else low) 99999 active;
      values = map (d: d.value) (filter (d: d.priority == best) active);
      isListOf = option.type.name != "" && builtins.substring 0 4 option.type.name == "list";
      result =
        if values == [ ] then throw "the option ${dotted path} is used but not defined"
        else if isListOf then concatLists values
        else if length values == 1 then head values
        else if all' (v: isAttrs v && !(isPackage v)) values then foldl' (a: b: a // b) { } values
        else if all' (v: v == head values) values then head values
        else throw "the option ${dotted path} has conflicting definitions";
      all' = builtins.all;
    in
    if option.readOnly or false && length definitions > 0 then throw "the option ${dotted path} is read-only"
    else if option.type.check result then result
    else throw "a definition for option `${dotted path}' is not of type `${option.type.name}'";

  # A tree from [ { path; value; } ].
  treeOf = leaves:
    let
      ended = filter (leaf: leaf.path == [ ]) leaves;
      names = builtins.groupBy (leaf: head leaf.path) leaves;
    in
    if ended != [ ] then (head ended).value
    else mapAttrs (_: group: treeOf (map (leaf: leaf // { path = tail leaf.path; }) group)) names;

  # --- modules ----------------------------------------------------------------------------------

  external = path: isString path && match "/nixpkgs-modules/.*" path != null;

  load = arguments: module:
    let
      body = if isAttrs module || isFunction module then module else import module;
      value = if isFunction body then body arguments else body;
    in
    {
      imports = value.imports or [ ];
      options = value.options or { };
      config = if value ? config then value.config
        else builtins.removeAttrs value [ "imports" "options" "key" "_file" ];
    };

  # Every module once: one that is a file by its path, one with a key by that, another by its place.
  closure = arguments: modules:
    let
      keyOf = place: module:
        if isAttrs module then module.key or place
        else if isFunction module then place
        else toString module;
      entries = place: list: builtins.genList
        (index: let module = elemAt list index; in { key = keyOf "${place}/${toString index}" module; inherit module; })
        (length list);
      kept = filter (module: !(external module));
      found = genericClosure {
        startSet = entries "" (kept modules);
        operator = item: entries item.key (kept (load arguments item.module).imports);
      };
    in
    map (item: load arguments item.module) found;

  # Options that are declared in two places are an error of NixOS, too.
  once = declared:
    let
      groups = builtins.groupBy (one: dotted one.path) declared;
      twice = filter (name: length groups.${name} > 1) (attrNames groups);
    in
    if twice == [ ] then declared
    else throw "the option ${head twice} is declared twice";

  evalModules = { modules, arguments }:
    let
      loaded = closure (arguments // { inherit lib config; }) modules;
      declared = once (concatMap (module: flat [ ] module.options) loaded);
      config = treeOf (map
        (one: {
          inherit (one) path;
          value = merged one.option one.path (concatMap (module: definitionsAt one.path start module.config) loaded);
        })
        declared);
      ownTops = map (one: one.path) declared;
      isOwn = path: builtins.any (own: own == path) ownTops;
      # "services.hydramesh" of ours is not NixOS's.
      under = path: builtins.any (own: builtins.genList (elemAt path) (if length own < length path then length own else length path) == own) ownTops;
      outside = concatMap (module: definitionsIn isOwn [ ] start module.config) loaded;
      wanted = filter (d: d.path != [ ]) outside;
    in
    {
      inherit config;
      inherit declared;
      # What an option of NixOS is defined with, without looking at any other.
      definitionsOf = path: map (d: { inherit (d) priority value; })
        (filter (d: d.active) (concatMap (module: definitionsAt path start module.config) loaded));
      definitions = filter (d: !(under d.path)) wanted;
      # Definitions of options below ours that nobody has declared.
      undeclared = filter (d: head d.path == "archibald" && !(under d.path)) wanted;
    };

  lib = {
    inherit types;
    mkIf = condition: content: { _type = "if"; inherit condition content; };
    mkMerge = contents: { _type = "merge"; inherit contents; };
    mkOverride = override;
    mkForce = override 50;
    mkDefault = override 1000;
    mkAfter = content: { _type = "order"; inherit content; };
    mkOption = attributes: { _type = "option"; } // attributes;
    mkAliasOptionModule = from: to: { config, ... }: {
      options = lib.setAttrByPath from (lib.mkOption {
        type = types.nullOr types.anything;
        default = null;
        description = "Alias of ${dotted to}.";
      });
      config = let given = lib.attrByPath from null config; in
        lib.setAttrByPath to (lib.mkIf (given != null) given);
    };
    literalExpression = text: { _type = "text"; inherit text; };
    literalMD = text: { _type = "text"; inherit text; };
    genAttrs = names: f: listToAttrs (map (name: { inherit name; value = f name; }) names);
    splitString = separator: text: filter isString (builtins.split (escaped separator) text);
    attrByPath = path: default: set:
      if path == [ ] then set
      else if isAttrs set && hasAttr (head path) set then lib.attrByPath (tail path) default set.${head path}
      else default;
    setAttrByPath = path: value:
      if path == [ ] then value else { ${head path} = lib.setAttrByPath (tail path) value; };
    licenses = { mit = "MIT"; lgpl3Plus = "LGPL-3.0-or-later"; };
  };

  escaped = text: builtins.replaceStrings [ "." ] [ "\\." ] text;
in
lib // { inherit evalModules isPackage; }
