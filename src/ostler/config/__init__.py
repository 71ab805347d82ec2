"""The profile: `ostler.yaml` in, checked settings out.

    text --document--> nodes --layers--> one tree --decode--> schema --resolve, rules--> policy and settings

Every stage reports its mistakes to one collector and goes on, so that a person sees all of them at once, each with
file, line, setting and remedy. Domain types come out; the core never sees a file.

Import from the modules: `load` (load_profile), `settings` (LoadedProfile and its parts), `show`, `fit`, `watch`. Only
`load` imports the YAML parser.
"""
