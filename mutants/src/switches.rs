//! Puts every mutant of a file behind a switch: `crate::mutant(ID)` chooses between its text and the original at run time.
//!
//! | kind | becomes |
//! |---|---|
//! | value of a function | `if mutant(1) { return VALUE; }` at the start of the body |
//! | `a + b` | `match (a, b) { (l, r) => if mutant(1) { l - r } else if mutant(2) { l * r } else { l + r } }` |
//! | `a < b` | the same with `(&a, &b)` |
//! | `a && b` | `match (mutant(1), a) { (m, l) => if l != m { b } else { m } }`, which evaluates b only where it counts |
//! | `a += b` | `match b { r => if mutant(1) { a -= r } else { a += r } }` |
//! | `!a`, `-a` | `match a { v => if mutant(1) { v } else { !v } }` |
//! | a deleted arm, a guard's value | a guard |
//! | a deleted field before `..base` | `field: if mutant(1) { base.field } else { value }` |
//!
//! An operator keeps its place in the tree of its expression: `a - b * c` becomes `a / (b * c)`.

use std::collections::HashSet;
use std::ops::Range;

use anyhow::Result;
use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, Pat};

use crate::edit::{self, Edit, Piece};
use crate::list::{ByPlace, Id, Mutant};

/// The text of a file with all its switches but those of `dropped`, and the mutants that have one.
pub fn install(
    text: &str,
    places: &ByPlace,
    function: &'static str,
    dropped: &HashSet<Id>,
) -> Result<(String, HashSet<Id>)> {
    let file = syn::parse_file(text)?;
    let mut switches = Switches {
        text,
        places,
        function,
        dropped,
        edits: Vec::new(),
        ids: HashSet::new(),
        in_const_fn: false,
    };
    switches.visit_file(&file);
    Ok((edit::apply(text, switches.edits), switches.ids))
}

struct Switches<'a> {
    text: &'a str,
    places: &'a ByPlace<'a>,
    /// Path of `mutant`.
    function: &'static str,
    dropped: &'a HashSet<Id>,
    edits: Vec<Edit>,
    ids: HashSet<Id>,
    in_const_fn: bool,
}

/// What one or more mutants put in the place of a text.
type Cases = Vec<(Id, Vec<Piece>)>;

fn new(text: impl Into<String>) -> Piece {
    Piece::New(text.into())
}

fn old(of: &impl Spanned) -> Piece {
    Piece::Old(of.span().byte_range())
}

impl<'a> Switches<'a> {
    fn mutants(&self, genre: &str, at: Span) -> Vec<(Id, &'a Mutant)> {
        let start = (at.start().line, at.start().column + 1);
        let found = self.places.get(&(genre, start)).cloned().unwrap_or_default();
        found.into_iter().filter(|(id, _)| !self.dropped.contains(id)).collect()
    }

    fn is_on(&self, id: Id) -> String {
        format!("{}({id})", self.function)
    }

    fn source(&self, of: &impl Spanned) -> &'a str {
        &self.text[of.span().byte_range()]
    }

    /// `if` the first mutant is on its text, `else if` ..., `else` the original.
    fn choose(&self, cases: Cases, original: Vec<Piece>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for (id, case) in cases {
            pieces.push(new(format!("if {} {{ {}", self.is_on(id), edit::open(&[id]))));
            pieces.extend(case);
            pieces.push(new(format!("{} }} else ", edit::close())));
        }
        pieces.push(new("{ "));
        pieces.extend(original);
        pieces.push(new(" }"));
        pieces
    }

    /// Puts pieces, in marks of all of their mutants, in the place of `range`.
    fn replace(&mut self, range: Range<usize>, ids: &[Id], pieces: Vec<Piece>) {
        let pieces = [vec![new(edit::open(ids))], pieces, vec![new(edit::close())]];
        self.edits.push(Edit { range, pieces: pieces.into_iter().flatten().collect() });
        self.ids.extend(ids);
    }

    /// The same for an expression, in parentheses.
    fn replace_expr(&mut self, of: &impl Spanned, ids: &[Id], pieces: Vec<Piece>) {
        let pieces = [vec![new("(")], pieces, vec![new(")")]];
        self.replace(of.span().byte_range(), ids, pieces.into_iter().flatten().collect());
    }

    fn body(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let Some(first) = block.stmts.first() else { return };
        // A function has one type of value; that of a mutant may be another one behind the same `impl Trait`.
        let opaque = self.source(&signature.output).contains("impl ");
        for (id, mutant) in self.mutants("FnValue", first.span()).into_iter().filter(|_| !opaque) {
            let condition = format!(" if {} {{ return {}; }} ", self.is_on(id), mutant.replacement);
            let start = block.brace_token.span.open().byte_range().end;
            self.replace(start..start, &[id], vec![new(condition)]);
        }
        let outer = std::mem::replace(&mut self.in_const_fn, signature.constness.is_some());
        visit::visit_block(self, block);
        self.in_const_fn = outer;
    }

    fn binary(&mut self, expr: &syn::ExprBinary) {
        let mutants = self.mutants("BinaryOperator", expr.op.span());
        let Some((first, _)) = mutants.first() else { return };
        let ids: Vec<Id> = mutants.iter().map(|(id, _)| *id).collect();
        let (left, right, op) = (old(&expr.left), old(&expr.right), self.source(&expr.op));
        let pieces = match expr.op {
            // An operand that is a condition with `let` is no value.
            BinOp::And(_) | BinOp::Or(_) if has_let(&expr.left) || has_let(&expr.right) => return,
            BinOp::And(_) | BinOp::Or(_) => {
                let not = if matches!(expr.op, BinOp::Or(_)) { "!" } else { "" };
                let open = new(format!("match ({not}{}, ", self.is_on(*first)));
                vec![open, left, new(") { (m, l) => if l != m { "), right, new(" } else { m } }")]
            }
            _ if op.ends_with('=') && !matches!(op, "==" | "!=" | "<=" | ">=") => {
                let cases = mutants.iter().map(|(id, mutant)| {
                    (*id, vec![old(&expr.left), new(format!(" {} r", mutant.replacement))])
                });
                let chosen = self.choose(cases.collect(), vec![left, new(format!(" {op} r"))]);
                let (open, close) = (vec![new("match "), right, new(" { r => ")], vec![new(" }")]);
                [open, chosen, close].into_iter().flatten().collect()
            }
            _ => {
                let compares = matches!(op, "==" | "!=" | "<" | "<=" | ">" | ">=");
                // References are not compared in a `const fn`; values that are compared there can be copied.
                let by = if compares && !self.in_const_fn { "&" } else { "" };
                let cases = mutants
                    .iter()
                    .map(|(id, mutant)| (*id, vec![new(format!("l {} r", mutant.replacement))]));
                let chosen = self.choose(cases.collect(), vec![new(format!("l {op} r"))]);
                let (open, between) = (new(format!("match ({by}(")), new(format!("), {by}(")));
                let open = vec![open, left, between, right, new(")) { (l, r) => ")];
                [open, chosen, vec![new(" }")]].into_iter().flatten().collect()
            }
        };
        self.replace_expr(expr, &ids, pieces);
    }

    fn unary(&mut self, expr: &syn::ExprUnary) {
        for (id, _) in self.mutants("UnaryOperator", expr.op.span()) {
            let op = self.source(&expr.op);
            let pieces = if matches!(*expr.expr, Expr::Lit(_)) {
                // Its value may exist with the sign only.
                self.choose(vec![(id, vec![old(&expr.expr)])], vec![new(op), old(&expr.expr)])
            } else {
                let chosen = self.choose(vec![(id, vec![new("v")])], vec![new(format!("{op}v"))]);
                let open = vec![new("match "), old(&expr.expr), new(" { v => ")];
                [open, chosen, vec![new(" }")]].into_iter().flatten().collect()
            };
            self.replace_expr(expr, &[id], pieces);
        }
    }

    fn arm(&mut self, arm: &syn::Arm, guard: Option<&Expr>) {
        let deleted = self.mutants("MatchArm", arm.span());
        let values = guard.map_or(Vec::new(), |guard| self.mutants("MatchArmGuard", guard.span()));
        let ids: Vec<Id> = deleted.iter().chain(&values).map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return;
        }
        let stays: Vec<String> = deleted.iter().map(|(id, _)| format!("!{}", self.is_on(*id))).collect();
        match guard {
            None => {
                let end = arm.pat.span().byte_range().end;
                self.replace(end..end, &ids, vec![new(format!(" if {} ", stays.join(" && ")))]);
            }
            Some(guard) => {
                let cases = values.iter().map(|(id, mutant)| (*id, vec![new(mutant.replacement.clone())]));
                let chosen = self.choose(cases.collect(), vec![old(guard)]);
                let stays: String = stays.iter().map(|stays| format!("{stays} && ")).collect();
                let pieces = [vec![new(format!("{stays}("))], chosen, vec![new(")")]];
                self.replace_expr(guard, &ids, pieces.into_iter().flatten().collect());
            }
        }
    }

    fn field(&mut self, of: &syn::ExprStruct, base: &Expr, field: &syn::FieldValue) {
        for (id, _) in self.mutants("StructField", field.span()) {
            let syn::Member::Named(name) = &field.member else { continue };
            let value = match base {
                Expr::Call(_) => format!("<{}>::default().{name}", self.source(&of.path)),
                _ => format!("({}).{name}", self.source(base)),
            };
            let chosen = self.choose(vec![(id, vec![new(value)])], vec![old(&field.expr)]);
            let pieces = [vec![new(format!("{name}: "))], chosen];
            self.replace(field.span().byte_range(), &[id], pieces.into_iter().flatten().collect());
        }
    }
}

/// Whether a condition has a `let` of its own, as in `a && let Some(b) = c`.
fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Switches<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.body(&item.sig, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.body(&item.sig, &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.body(&item.sig, block);
        }
    }

    fn visit_expr_binary(&mut self, expr: &'ast syn::ExprBinary) {
        self.binary(expr);
        visit::visit_expr_binary(self, expr);
    }

    fn visit_expr_unary(&mut self, expr: &'ast syn::ExprUnary) {
        self.unary(expr);
        visit::visit_expr_unary(self, expr);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let guard = if let Pat::Guard(guarded) = &arm.pat { Some(&*guarded.guard) } else { None };
        self.arm(arm, guard);
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, expr: &'ast syn::ExprStruct) {
        if let Some(base) = &expr.rest {
            for field in &expr.fields {
                self.field(expr, base, field);
            }
        }
        visit::visit_expr_struct(self, expr);
    }

    // Evaluated by the compiler, where no switch is ever on.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_type_array(&mut self, _: &'ast syn::TypeArray) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}

    fn visit_expr_repeat(&mut self, expr: &'ast syn::ExprRepeat) {
        self.visit_expr(&expr.expr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::{Place, Span};

    fn mutant(genre: &str, (line, column): (usize, usize), replacement: &str) -> Mutant {
        let start = Place { line, column };
        let (name, file) = (String::new(), String::from("a.rs"));
        Mutant {
            name,
            file,
            genre: genre.to_string(),
            replacement: replacement.to_string(),
            span: Span { start },
        }
    }

    /// The text with switches, without the marks.
    fn switched(text: &str, mutants: &[Mutant]) -> String {
        let places = crate::list::of_file(mutants, "a.rs");
        let (mut text, ids) = install(text, &places, "m", &HashSet::new()).unwrap();
        assert_eq!(ids.len(), mutants.len());
        while let Some(at) = text.find("/*") {
            let end = at + text[at..].find("*/").unwrap() + 2;
            text.replace_range(at..end, "");
        }
        text
    }

    #[test]
    fn switches_are_put_inside_each_other() {
        let mutants = [
            mutant("FnValue", (1, 31), "0"),
            mutant("BinaryOperator", (1, 33), "-"),
            mutant("BinaryOperator", (1, 37), "/"),
            mutant("UnaryOperator", (1, 39), ""),
        ];
        let got = switched("fn f(a: i32, b: i32) -> i32 {\ta + b * -a }", &mutants);
        let unary = "(match a { v => if m(4) { v } else { -v } })";
        let product =
            format!("(match ((b), ({unary})) {{ (l, r) => if m(3) {{ l / r }} else {{ l * r }} }})");
        let sum = format!("(match ((a), ({product})) {{ (l, r) => if m(2) {{ l - r }} else {{ l + r }} }})");
        let value = " if m(1) { return 0; } ";
        assert_eq!(got, format!("fn f(a: i32, b: i32) -> i32 {{{value}\t{sum} }}"));
    }

    #[test]
    fn arms_and_their_guards_become_guards() {
        let mutants = [
            mutant("MatchArm", (1, 27), ""),
            mutant("MatchArmGuard", (1, 32), "true"),
            mutant("MatchArm", (1, 43), ""),
        ];
        let got = switched("fn f(a: i32) { match a {  1 if g(a) => {} 2 => {} _ => {} } }", &mutants);
        let first = "1 if (!m(1) && (if m(2) { true } else { g(a) }))";
        let second = "2 if !m(3)";
        assert_eq!(
            got,
            format!("fn f(a: i32) {{ match a {{  {first} => {{}} {second}  => {{}} _ => {{}} }} }}")
        );
    }
}
