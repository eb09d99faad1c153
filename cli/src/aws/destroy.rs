//! `xf destroy`: shows what deleting a stack removes and what remains, or removes both.

use serde_json::Value;

use super::{
    Account, Deployed, StackName,
    command::Command,
    removal::{Kind, existing, remove},
    secret_name, trouble,
};
use crate::{
    failure::{Exit, Failure},
    output::{Console, shell_word},
};

/// Show what removing a deployment would delete and what would remain, or remove it
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf destroy --plan
  xf destroy --everything                 # the stack and its leftovers, but no files and records
  xf destroy --everything --and-data      # also all files and records

Files, records and the distribution are kept when a stack is deleted. --everything asks for the stack's name and then \
removes the distribution and its resources, of this stack and of earlier stacks of its name; links stop working. The \
bucket and the table are removed only with --and-data. If the command is interrupted, run it again.")]
pub(crate) struct DestroyArgs {
    /// The CloudFormation stack
    #[arg(long, value_name = "NAME", default_value = "xfiles")]
    stack: StackName,
    /// Only print what would be removed and what would remain
    #[arg(long, required_unless_present = "everything")]
    plan: bool,
    /// Remove the stack and the resources that it leaves behind, except files and records
    #[arg(long)]
    everything: bool,
    /// With --everything, also remove the bucket with all files and the table with all records
    #[arg(long, requires = "everything")]
    and_data: bool,
    /// The stack's name, instead of typing it when asked
    #[arg(long, value_name = "NAME", requires = "everything")]
    confirm: Option<StackName>,
}

struct Resource {
    kind: Option<Kind>,
    name_of_type: String,
    id: String,
}

impl Resource {
    fn read(listed: &Value) -> Self {
        let text = |field: &str| listed[field].as_str().unwrap_or_default().to_owned();
        let name_of_type = text("ResourceType");
        Self { kind: Kind::of_type(&name_of_type), name_of_type, id: text("PhysicalResourceId") }
    }
}

/// The existing resources of a stack's name.
struct Installed {
    stack: Option<Deployed>,
    goes: Vec<Resource>,
    stays: Vec<Resource>,
}

pub(crate) fn destroy(args: &DestroyArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let stack = &args.stack;
    let installed = Installed::read(stack)?;
    if !args.everything {
        installed.show(console)?;
        console.result(format_args!("\naws cloudformation delete-stack --stack-name {}", shell_word(&stack.0)))?;
        console.note("`xf destroy --everything` also removes what remains");
        return Ok(Exit::Ok);
    }
    let (leaves, mut removes): (Vec<_>, Vec<_>) = installed
        .stays
        .iter()
        .filter_map(|resource| Some((resource.kind?, resource)))
        .partition(|(kind, _)| kind.is_data() && !args.and_data);
    removes.sort_by_key(|(kind, _)| *kind);
    if installed.stack.is_none() && removes.is_empty() {
        console.note(format_args!("nothing of the stack {stack} is left to remove"));
    } else {
        console.result("will be removed:")?;
        let removed = installed.goes.iter().chain(removes.iter().map(|(_, resource)| *resource));
        show(removed, console)?;
        if args.plan {
            return show_left(&leaves, console);
        }
        confirm(args, console)?;
        let account = Account::current()?;
        if let Some(deployed) = &installed.stack {
            console.note(format_args!("deleting the stack {stack}"));
            delete(stack, deployed)?;
        }
        for (kind, resource) in removes {
            console.note(format_args!("removing {} {}", resource.name_of_type, resource.id));
            remove(kind, &resource.id, &account, console)?;
        }
    }
    show_left(&leaves, console)
}

impl Installed {
    /// Reads the stack and the leftovers of deleted stacks of its name, which CloudFormation lists for ninety days.
    fn read(stack: &StackName) -> Result<Self, Failure> {
        let mut installed = Self { stack: Deployed::read(stack)?, goes: Vec::new(), stays: Vec::new() };
        if let Some(deployed) = &installed.stack {
            let (stays, goes) = Self::of_stack(stack, deployed)?;
            installed.stays = stays;
            installed.goes = goes;
        }
        let deleted =
            Command::aws(["cloudformation", "list-stacks", "--stack-status-filter", "DELETE_COMPLETE"]).json()?;
        for summary in list(&deleted["StackSummaries"]) {
            let (name, id) = (summary["StackName"].as_str(), summary["StackId"].as_str());
            if let (true, Some(id)) = (name == Some(&stack.0), id) {
                let listed = Command::aws(["cloudformation", "list-stack-resources", "--stack-name", id]).json()?;
                let left = list(&listed["StackResourceSummaries"]).iter();
                let left = left.filter(|resource| resource["ResourceStatus"] != "DELETE_COMPLETE");
                installed.stays.extend(left.map(Resource::read));
            }
        }
        let secret = secret_name(stack);
        if existing(Command::aws(["secretsmanager", "describe-secret", "--secret-id", &secret]).json())?.is_some() {
            let name_of_type = "AWS::SecretsManager::Secret".to_owned();
            installed.stays.push(Resource { kind: Some(Kind::SigningKey), name_of_type, id: secret });
        }
        Ok(installed)
    }

    /// The resources that remain when the stack is deleted, and those that are deleted with it.
    fn of_stack(stack: &StackName, deployed: &Deployed) -> Result<(Vec<Resource>, Vec<Resource>), Failure> {
        // A stack that was only a change set has neither.
        if deployed.status() == "REVIEW_IN_PROGRESS" {
            return Ok((Vec::new(), Vec::new()));
        }
        let template = Command::aws(["cloudformation", "get-template", "--stack-name", &stack.0])
            .and(["--template-stage", "Processed"])
            .json()?;
        let listed = Command::aws(["cloudformation", "list-stack-resources", "--stack-name", &stack.0]).json()?;
        let there = list(&listed["StackResourceSummaries"]).iter().filter(|resource| {
            // It belongs to a creation that was rolled back.
            resource["ResourceStatus"] != "DELETE_COMPLETE" && resource["PhysicalResourceId"].is_string()
        });
        let (stays, goes): (Vec<_>, Vec<_>) = there.partition(|resource| {
            let name = resource["LogicalResourceId"].as_str().unwrap_or_default();
            let policy = &template["TemplateBody"]["Resources"][name]["DeletionPolicy"];
            matches!(policy.as_str(), Some("Retain" | "RetainExceptOnCreate" | "Snapshot"))
        });
        let read = |resources: Vec<&Value>| resources.into_iter().map(Resource::read).collect();
        Ok((read(stays), read(goes)))
    }

    fn show(&self, console: &mut Console<'_>) -> Result<(), Failure> {
        for (heading, resources) in [("would be removed", &self.goes), ("would remain", &self.stays)] {
            console.result(format_args!("{heading}:"))?;
            show(resources, console)?;
        }
        Ok(())
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[][..], Vec::as_slice)
}

fn show<'a>(resources: impl IntoIterator<Item = &'a Resource>, console: &mut Console<'_>) -> Result<(), Failure> {
    for resource in resources {
        console.result(format_args!("  {:44}{}", resource.name_of_type, resource.id))?;
    }
    Ok(())
}

fn show_left(leaves: &[(Kind, &Resource)], console: &mut Console<'_>) -> Result<Exit, Failure> {
    if !leaves.is_empty() {
        console.result("remains unless --and-data is given:")?;
        show(leaves.iter().map(|(_, resource)| *resource), console)?;
    }
    Ok(Exit::Ok)
}

/// Asks for the stack's name.
fn confirm(args: &DestroyArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let stack = &args.stack;
    let typed = match &args.confirm {
        Some(confirmed) => Some(confirmed == stack),
        None => {
            let data = if args.and_data { " It removes every file and every record." } else { "" };
            console.confirm_by_typing(&format!("This cannot be undone.{data} Type {stack} to continue:"), &stack.0)
        }
    };
    match typed {
        Some(true) => Ok(()),
        Some(false) => {
            Err(Failure::new(Exit::Usage, format!("that is not the stack's name, {stack}; nothing was removed")))
        }
        None => Err(Failure::new(Exit::Usage, "nothing was removed: there is no terminal to type the stack's name at")
            .or_hint(format!("give it with --confirm {stack}"))),
    }
}

fn delete(stack: &StackName, deployed: &Deployed) -> Result<(), Failure> {
    let before = trouble::newest_event(stack);
    let deleted = Command::aws(["cloudformation", "delete-stack", "--stack-name", &stack.0]).text().and_then(|_| {
        // By its id, because the name is no longer known once the stack is deleted.
        Command::aws(["cloudformation", "wait", "stack-delete-complete", "--stack-name", deployed.id()]).text()
    });
    deleted.map(drop).map_err(|failure| trouble::explained(failure, stack, before.as_deref()))
}
