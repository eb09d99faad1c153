//! `xf destroy --plan`: what removing the stack would remove, what would stay, and the commands for either.

use super::{StackName, command::Command};
use crate::{
    failure::{Exit, Failure},
    output::{Console, shell_word},
};

/// Show what removing a deployment would remove and what would stay
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf destroy --plan

It removes nothing itself: files, records and the distribution are kept when a stack is deleted, and removing them is a \
decision for each. The commands are in the plan.")]
pub(crate) struct DestroyArgs {
    /// The CloudFormation stack
    #[arg(long, value_name = "NAME", default_value = "xfiles")]
    stack: StackName,
    /// Print the plan, which is all that this command does
    #[arg(long, required = true)]
    plan: bool,
}

pub(crate) fn destroy(args: &DestroyArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    debug_assert!(args.plan, "the argument parser demands it");
    let stack = &args.stack.0;
    let template = Command::aws(["cloudformation", "get-template", "--stack-name", stack])
        .and(["--template-stage", "Processed"])
        .json()?;
    let listed = Command::aws(["cloudformation", "list-stack-resources", "--stack-name", stack]).json()?;
    let resources = listed["StackResourceSummaries"].as_array().map_or(&[][..], Vec::as_slice);
    let (stay, go): (Vec<_>, Vec<_>) = resources.iter().partition(|resource| {
        let name = resource["LogicalResourceId"].as_str().unwrap_or_default();
        let policy = &template["TemplateBody"]["Resources"][name]["DeletionPolicy"];
        matches!(policy.as_str(), Some("Retain" | "RetainExceptOnCreate" | "Snapshot"))
    });
    for (heading, resources) in [("would be removed", go), ("would stay", stay)] {
        console.result(format_args!("{heading}:"))?;
        for resource in resources {
            let text = |field: &str| resource[field].as_str().unwrap_or_default();
            console.result(format_args!("  {:44}{}", text("ResourceType"), text("PhysicalResourceId")))?;
        }
    }
    console.result(format_args!("\naws cloudformation delete-stack --stack-name {}", shell_word(stack)))?;
    console.note("docs/deploy.md tells how to remove what stays");
    Ok(Exit::Ok)
}
