//! The rules for layers and imports, applied to the sources of a crate.

use super::graph::Graph;
use super::mentions::{Mention, mentions};
use super::modules::Tree;
use super::sources::Sources;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A crate and the order of its layers.
pub struct Crate {
    /// The source folder, from the root of the repository.
    pub folder: &'static str,
    /// The entries of the folder, top first. The first one is the root, `lib` or `main`.
    pub layers: &'static [&'static str],
}

/// A message for each rule that the crate breaks.
pub fn problems(layout: &Crate, sources: &Sources) -> Vec<String> {
    let root = Path::new(layout.folder).join(format!("{}.rs", layout.layers[0]));
    let tree = Tree::new(&root, sources);
    if tree.modules.is_empty() {
        return tree.problems;
    }
    let mut check = Check { layout, tree: &tree, aliases: BTreeMap::new(), graph: Graph::default() };
    let mut problems = tree.problems.clone();
    problems.extend(check.entries(sources));
    let mentions = mentions(&tree);
    check.find_aliases(&mentions);
    let mut wrong = BTreeSet::new();
    for mention in &mentions {
        let file = tree.modules[mention.module].file.as_path();
        wrong.extend(check.judge(mention).into_iter().map(|reason| (file, mention.line, reason)));
    }
    problems.extend(wrong.iter().map(|(file, line, reason)| format!("{}:{line}: {reason}", file.display())));
    problems.extend(check.graph.circles());
    problems
}

/// The modules that a path leads to and the names that remain behind them.
struct Destination<'m> {
    /// Several, if the path starts with an alias that stands for several modules.
    modules: Vec<usize>,
    /// The item, and names inside it.
    rest: &'m [String],
}

struct Check<'t> {
    layout: &'t Crate,
    tree: &'t Tree,
    /// Modules that a `use` brings in, by the importing module and the name there.
    aliases: BTreeMap<(usize, String), BTreeSet<usize>>,
    graph: Graph,
}

impl Check<'_> {
    /// Compares the list of layers with the files; finds files that no module declaration leads to.
    fn entries(&self, sources: &Sources) -> Vec<String> {
        let mut problems = Vec::new();
        let mut entries = BTreeMap::new();
        for module in self.tree.modules.iter().filter(|module| !module.test) {
            if let [top] = &module.path[..] {
                entries.insert(top.clone(), module.file.display().to_string());
            }
        }
        for path in sources.keys() {
            let Ok(inside) = path.strip_prefix(self.layout.folder) else { continue };
            // A binary beside a library imports it as any other crate does: it is no layer.
            if self.layout.layers[0] == "lib" && inside == Path::new("main.rs") {
                continue;
            }
            let outermost = self.tree.modules.iter().find(|module| module.file == *path);
            if outermost.is_none() {
                let hint = "declare it or remove it";
                problems.push(format!("{}: no mod declaration leads to it: {hint}", path.display()));
            }
            let is_test = outermost.is_some_and(|module| module.test);
            let mut names = inside.components();
            let first = names.next().map(|name| name.as_os_str().to_string_lossy().into_owned());
            if let (false, Some(first)) = (is_test, first) {
                let shown = format!("{}/{first}", self.layout.folder);
                match names.next() {
                    Some(_) => entries.insert(first, format!("{shown}/")),
                    None => entries.insert(first.trim_end_matches(".rs").to_owned(), shown),
                };
            }
        }
        for (name, shown) in &entries {
            if self.rank(name).is_none() {
                problems.push(format!(
                    "{shown}: {name} is not in the list of layers: add it above all it imports"
                ));
            }
        }
        for layer in self.layout.layers.iter().filter(|layer| !entries.contains_key(**layer)) {
            let folder = self.layout.folder;
            problems
                .push(format!("{folder}: the list of layers names {layer}, which does not exist: remove it"));
        }
        problems
    }

    fn rank(&self, layer: &str) -> Option<usize> {
        self.layout.layers.iter().position(|one| *one == layer)
    }

    fn layer(&self, module: usize) -> &str {
        self.tree.modules[module].path.first().map_or(self.layout.layers[0], String::as_str)
    }

    /// Finds the modules that each `use` gives a name to.
    fn find_aliases(&mut self, mentions: &[Mention]) {
        for mention in mentions {
            if let Some(alias) = &mention.alias {
                let destination = self.resolve(mention);
                if destination.rest.is_empty() {
                    let known = self.aliases.entry((mention.module, alias.clone())).or_default();
                    known.extend(destination.modules);
                }
            }
        }
    }

    /// Follows a path as far as it names modules. There are none if it leads out of the crate.
    fn resolve<'m>(&self, mention: &'m Mention) -> Destination<'m> {
        let nowhere = Destination { modules: Vec::new(), rest: &[] };
        let mut rest = &mention.names[..];
        let mut modules = vec![mention.module];
        match rest[0].as_str() {
            "crate" => (modules, rest) = (vec![0], &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {}
            name if self.enter(mention.module, name, mention.module).is_empty() => return nowhere,
            _ => {}
        }
        while let Some(("super", above)) = rest.split_first().map(|(name, above)| (name.as_str(), above)) {
            match self.tree.modules[modules[0]].parent {
                Some(parent) => (modules, rest) = (vec![parent], above),
                None => return nowhere,
            }
        }
        while let Some((name, inside)) = rest.split_first() {
            let next: Vec<usize> =
                modules.iter().flat_map(|&module| self.enter(module, name, mention.module)).collect();
            if next.is_empty() {
                break;
            }
            (modules, rest) = (next, inside);
        }
        Destination { modules, rest }
    }

    /// The modules that `name` stands for in `module`: one below it or, in the reader's own file, one that a
    /// `use` brings in.
    fn enter(&self, module: usize, name: &str, reader: usize) -> Vec<usize> {
        let modules = &self.tree.modules;
        if let Some(&child) = modules[module].children.get(name) {
            return vec![child];
        }
        if modules[module].file != modules[reader].file {
            return Vec::new();
        }
        self.aliases.get(&(module, name.to_owned())).into_iter().flatten().copied().collect()
    }

    /// The rules that a path breaks. If it breaks none, it becomes a part of the graph.
    fn judge(&mut self, mention: &Mention) -> Vec<String> {
        let path = mention.path();
        if mention.names.iter().filter(|name| *name == "super").count() > 1 {
            return vec![format!("imports {path}: write the path from crate")];
        }
        let Destination { modules, rest } = self.resolve(mention);
        let item = rest.first().map(String::as_str);
        if item == Some("*") && !modules.is_empty() {
            return vec![format!("imports {path}: name the items")];
        }
        let tree = self.tree;
        let own = &tree.modules[mention.module].file;
        if modules.iter().any(|&module| tree.modules[module].file == *own) {
            return Vec::new();
        }
        let holds = |module: &usize| item.is_none_or(|item| tree.modules[*module].defines.contains(item));
        let defining: Vec<usize> = modules.iter().copied().filter(holds).collect();
        if let (true, Some(&first)) = (defining.is_empty(), modules.first()) {
            let file = tree.modules[first].file.display();
            return vec![format!(
                "imports {path}, which {file} does not define: name {}",
                self.better(first, rest)
            )];
        }
        let mut problems = Vec::new();
        for module in defining {
            self.graph.add(own, &tree.modules[module].file, mention.line, path.clone());
            let (here, there) = (self.layer(mention.module), self.layer(module));
            if let (Some(low), Some(high)) = (self.rank(here), self.rank(there))
                && high < low
            {
                problems.push(format!("imports {path}: {there} lies above {here}"));
            }
        }
        problems
    }

    /// The path to the item by the module that defines it, if one alone does, or one alone below `module`.
    fn better(&self, module: usize, rest: &[String]) -> String {
        let modules = &self.tree.modules;
        let defining: Vec<_> =
            modules.iter().filter(|one| !one.test && one.defines.contains(&rest[0])).collect();
        let below =
            defining.iter().filter(|one| one.path.starts_with(&modules[module].path)).collect::<Vec<_>>();
        let only = match (&below[..], &defining[..]) {
            ([one], _) => one,
            (_, [one]) => one,
            _ => return "the module or the crate that defines it".to_owned(),
        };
        let names = [&["crate".to_owned()], &only.path[..], rest].concat();
        names.join("::")
    }
}
