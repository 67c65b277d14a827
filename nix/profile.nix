# From a profile (TOML) to complete, checked values. Builtins only, so that it can be evaluated
# without nixpkgs and compared with what `archibald` makes of the same file.
#
# nix/profile.json holds the options, their defaults and bounds; `make docs` writes it from the
# declarations in Python. Nothing here throws for a wrong value: what is wrong becomes a sentence in
# `problems`, the default takes its place, and the modules turn the sentences into assertions.
let
  model = builtins.fromJSON (builtins.readFile ./profile.json);

  inherit (builtins)
    attrNames concatMap elem elemAt filter foldl' hasAttr head isAttrs isBool isInt isList isString
    length listToAttrs mapAttrs match removeAttrs stringLength toJSON;

  namesOfTables = filter (name: name != "" && name != "variant") (attrNames model.tables);

  optional = condition: value: if condition then [ value ] else [ ];

  listed = values: builtins.concatStringsSep ", " (map toString values);

  # --- values ---------------------------------------------------------------------------------

  # Python takes blanks around a text away.
  stripped = text:
    let found = match "[ \t\r\n]*(.*[^ \t\r\n])[ \t\r\n]*" text;
    in if found == null then (if match "[ \t\r\n]*" text == null then text else "") else head found;

  cleaned = schema: value:
    if isString value && (schema.type or "") == "string" && !(schema ? enum) then stripped value
    else if isList value then map (cleaned (schema.items or { })) value
    else value;

  typeFits = type: value:
    if type == "integer" then isInt value
    else if type == "boolean" then isBool value
    else if type == "string" then isString value
    else if type == "array" then isList value
    else isAttrs value;

  allDifferent = values:
    length values == length (attrNames (listToAttrs (map (v: { name = toJSON v; value = null; }) values)));

  fits = schema: value:
    if schema ? anyOf then builtins.any (branch: fits branch value) schema.anyOf
    else typeFits (schema.type or "object") value
      && (!(schema ? const) || value == schema.const)
      && (!(schema ? enum) || elem value schema.enum)
      && (!(schema ? minimum) || value >= schema.minimum)
      && (!(schema ? maximum) || value <= schema.maximum)
      && (!(schema ? maxLength) || stringLength value <= schema.maxLength)
      && (!(schema ? pattern) || match schema.pattern value != null)
      && (!(schema ? minItems) || length value >= schema.minItems)
      && (!(schema ? items) || builtins.all (fits schema.items) value)
      && (!(schema.uniqueItems or false) || allDifferent value);

  # What one option's value becomes: { value; problems; }. `key` is dotted, for the sentence.
  option = key: declared: data: name:
    if !(hasAttr name data) then {
      value = declared.default;
      problems = optional declared.required "${key} is missing; it takes ${declared.allowed}";
    } else
      let value = cleaned declared.schema data.${name};
      in if fits declared.schema value then { inherit value; problems = [ ]; } else {
        value = declared.default;
        problems = [ "${key} is ${toJSON value}; it takes ${declared.allowed}" ];
      };

  # prefix: the name of the table; "" for the options outside of all tables.
  table = prefix: declared: data:
    let under = name: if prefix == "" then name else "${prefix}.${name}";
    in
    if !isAttrs data then {
      values = mapAttrs (_: o: o.default) declared;
      problems = [ "${prefix} is ${toJSON data}; it takes a table" ];
    } else
      let
        read = mapAttrs (name: o: option (under name) o data name) declared;
        unknown = filter (name: !(hasAttr name declared)) (attrNames data);
      in {
        values = mapAttrs (_: o: o.value) read;
        problems = map (name: "${under name} is no option of a profile") unknown
          ++ concatMap (name: read.${name}.problems) (attrNames declared);
      };

  # --- files ----------------------------------------------------------------------------------

  # Tables merge key by key, variants by name; every other list replaces the one below it.
  merge = below: above:
    below // mapAttrs
      (name: value:
        if name == "variant" && isList value && isList (below.variant or [ ])
        then mergeVariants (below.variant or [ ]) value
        else if isAttrs value && isAttrs (below.${name} or null) then merge below.${name} value
        else value)
      above;

  mergeVariants = below: above:
    let
      nameOf = variant: if isAttrs variant then variant.name or null else null;
      named = filter (name: name != null) (map nameOf above);
      replaced = map
        (old:
          let new = filter (v: nameOf v != null && nameOf v == nameOf old) above;
          in if new == [ ] then old else merge old (head new))
        below;
      known = map nameOf below;
    in
    # Two of one name in one file stay two, so that they are found and named.
    if !allDifferent named then below ++ above
    else replaced ++ filter (v: nameOf v == null || !(elem (nameOf v) known)) above;

  # What Nix says of a wrong file does not name it.
  parsed = file: builtins.addErrorContext "while reading the profile ${toString file}"
    (builtins.fromTOML (builtins.readFile file));

  readFrom = seen: file:
    let
      data = parsed file;
      extends = data.extends or "";
      base = if match "/.*" extends != null then /. + extends else builtins.dirOf file + "/${extends}";
      own = removeAttrs data [ "extends" ];
    in
    if elem (toString file) seen then
      throw "archibald: the profile ${toString file} extends itself through ${listed seen}"
    # `resolve` says that it is wrong.
    else if !isString extends then data
    else if extends == "" then own
    else if !(builtins.pathExists base) then
      throw ("archibald: the profile ${toString file} extends ${extends}, which is not there; in a "
        + "flake git has to know the file")
    else merge (readFrom (seen ++ [ (toString file) ]) base) own;

  # --- variants -------------------------------------------------------------------------------

  variantOf = index: data:
    let
      declared = model.tables.variant;
      shown = if isAttrs data && isString (data.name or null) then data.name else toString index;
      own = table "variant.${shown}" declared data;
      overrides = map
        (name:
          let
            given = own.values.${name};
            known = model.tables.${name};
            read = mapAttrs (key: _: option "variant.${shown}.${name}.${key}" known.${key} given key)
              (builtins.intersectAttrs known given);
          in {
            inherit name;
            value = mapAttrs (_: o: o.value) read;
            problems = concatMap (key: read.${key}.problems) (attrNames read)
              ++ map (key: "variant.${shown}.${name}.${key} is no option of a profile")
                (attrNames (removeAttrs given (attrNames known)));
          })
        model.variantTables;
    in {
      values = own.values // listToAttrs overrides;
      problems = own.problems ++ concatMap (o: o.problems) overrides;
    };

  numbered = list: builtins.genList (index: variantOf index (elemAt list index)) (length list);

  # --- what does not go together --------------------------------------------------------------

  conflictsIn = where: values:
    let
      inherit (values) audio cpu realtime;
      beyond = key: filter (number: number >= cpu.minimum) cpu.${key};
      loose = filter (number: !(elem number (cpu.audio ++ cpu.isolated))) cpu.tickless;
      tooHigh = key: optional (beyond key != [ ])
        ("${where}cpu.${key} names CPU ${listed (beyond key)}, but machines of this profile may "
          + "have only ${toString cpu.minimum}; raise cpu.minimum or choose another CPU");
    in
    optional (audio.quantum < audio.min_quantum)
      "${where}audio.quantum ${toString audio.quantum} is under audio.min_quantum ${toString audio.min_quantum}"
    ++ optional (audio.quantum > audio.max_quantum)
      "${where}audio.quantum ${toString audio.quantum} is over audio.max_quantum ${toString audio.max_quantum}"
    ++ optional (audio.data_loop_priority > realtime.priority_limit)
      ("${where}audio.data_loop_priority ${toString audio.data_loop_priority} is over "
        + "realtime.priority_limit ${toString realtime.priority_limit}")
    ++ concatMap tooHigh [ "audio" "isolated" "tickless" ]
    ++ optional (length cpu.isolated >= cpu.minimum)
      "${where}cpu.isolated takes all of the ${toString cpu.minimum} CPUs and leaves none for the rest"
    ++ optional (loose != [ ])
      ("${where}cpu.tickless names CPU ${listed loose}, which is neither in cpu.audio nor in "
        + "cpu.isolated: without pinned work it only costs");

  twice = variants:
    let names = map (variant: variant.name) variants;
    in optional (!allDifferent names) "two variants have the same name: ${listed names}"
      ++ optional (elem "default" names) ''the name "default" of a variant is taken by the profile itself'';

  reserved = name: optional (elem name model.systemNames)
    "users.name is ${toJSON name}, the name of a system account or group";

in
rec {
  inherit model;

  # A profile file and what it extends, merged, as it stands: not yet checked, without defaults.
  read = file: readFrom [ ] file;

  # Data of that shape → { values; problems; }: every option, and a sentence for what is wrong.
  resolve = data:
    let
      rest = removeAttrs data (namesOfTables ++ [ "variant" ]);
      root = table "" model.tables."" rest;
      named = listToAttrs (map
        (name: { inherit name; value = table name model.tables.${name} (data.${name} or { }); })
        namesOfTables);
      listedVariants = data.variant or [ ];
      variants = if isList listedVariants then numbered listedVariants else [ ];
      values = root.values // mapAttrs (_: t: t.values) named
        // { variant = map (v: v.values) variants; };
      single = root.problems
        ++ concatMap (name: named.${name}.problems) namesOfTables
        ++ concatMap (v: v.problems) variants
        ++ optional (!isList listedVariants) "variant is no list of tables: write [[variant]]";
    in {
      inherit values;
      # Conflicts are looked for only between values that are right each on its own.
      problems = if single != [ ] then single else conflicts values;
    };

  # Sentences about values that are right each on its own, but not together.
  conflicts = values:
    let
      own = conflictsIn "" values;
      inVariant = variant:
        filter (text: !(elem text (map (t: "variant ${variant.name}: ${t}") own)))
          (conflictsIn "variant ${variant.name}: " (entry values variant.name));
    in
    own ++ reserved values.users.name ++ twice values.variant ++ concatMap inVariant values.variant;

  # The values as the boot entry of a name sees them; "default" is the profile itself.
  entry = values: name:
    if name == "default" then values
    else
      let found = filter (variant: variant.name == name) values.variant;
      in if found == [ ] then throw "archibald: the profile has no variant ${name}"
      else values // listToAttrs (map
        (key: { name = key; value = values.${key} // (head found).${key}; })
        model.variantTables);
}
