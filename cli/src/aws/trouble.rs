//! What keeps a stack from being deployed: states that CloudFormation does not update, failed resources with their
//! reasons, and causes that the reasons name.

use serde_json::Value;

use super::{Deployed, StackName, command::Command};
use crate::failure::{Exit, Failure};

/// Parts of AWS's messages, and what to do about them.
const KNOWN: [(&str, &str); 11] = [
    (
        "must be verified before you can add",
        "CloudFront does not serve for this account yet. Open a support case (\"Account and billing\", free of charge), \
         quote the message, and deploy again when it is answered; see docs/deploy.md, \"What is needed\"",
    ),
    (
        "UnreservedConcurrentExecution below its minimum",
        "the account's Lambda quota has no room to reserve: deploy with --parameter WorkerConcurrency=0, or have the quota \
         \"Concurrent executions\" raised",
    ),
    (
        "CannotChangeImmutablePublicKeyFields",
        "CloudFront changes no public key in place: give the new one as the other parameter (docs/deploy.md, \"Rotating the \
         signing key\")",
    ),
    (
        "CNAMEAlreadyExists",
        "another distribution has the name, perhaps that of an earlier installation: take the name from it, or remove it \
         with `xf destroy --everything`",
    ),
    (
        "CNAMEs you provided are already associated",
        "another distribution has the name, perhaps that of an earlier installation: take the name from it, or remove it \
         with `xf destroy --everything`",
    ),
    (
        "Unable to get mapping for OriginShield",
        "the template does not know this region: choose one that its mapping OriginShield names",
    ),
    (
        "PublicKeyAlreadyExists",
        "the rotation before this one left its key: delete it with `aws cloudfront delete-public-key` (docs/deploy.md, \
         \"Rotating the signing key\")",
    ),
    ("is not authorized to perform", "docs/deploy.md, \"What is needed\", has the rights that a deployment needs"),
    // Of the build.
    ("no such command: `lambda`", "install cargo-lambda: pip install cargo-lambda ziglang"),
    ("target may not be installed", "rustup target add aarch64-unknown-linux-gnu"),
    ("Zig is not installed", "cargo-lambda links with zig for another processor: pip install ziglang"),
];

/// What to do about a message of AWS's, if its cause is known.
pub(super) fn advice(message: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(part, _)| message.contains(part)).map(|(_, advice)| *advice)
}

impl Deployed {
    /// The stack as one that an update can start from. `None` when nothing of it exists yet: there is no stack, or one
    /// that was never more than a set of changes.
    pub(super) fn updatable(stack: &StackName) -> Result<Option<Self>, Failure> {
        let Some(deployed) = Self::read(stack)? else { return Ok(None) };
        match deployed.status() {
            "REVIEW_IN_PROGRESS" => Ok(None),
            _ => match deployed.trouble(stack) {
                Some(failure) => Err(failure),
                None => Ok(Some(deployed)),
            },
        }
    }

    /// Why the stack cannot be updated as it is, with the failed resources and the commands that help.
    pub(super) fn trouble(&self, stack: &StackName) -> Option<Failure> {
        let status = self.status();
        let commands = match status {
            "CREATE_COMPLETE"
            | "UPDATE_COMPLETE"
            | "UPDATE_ROLLBACK_COMPLETE"
            | "IMPORT_COMPLETE"
            | "IMPORT_ROLLBACK_COMPLETE" => return None,
            "UPDATE_ROLLBACK_FAILED" => {
                vec![Command::aws(["cloudformation", "continue-update-rollback", "--stack-name", &stack.0])]
            }
            "UPDATE_FAILED" => vec![Command::aws(["cloudformation", "rollback-stack", "--stack-name", &stack.0])],
            // A stack whose creation failed can only be deleted.
            "CREATE_FAILED" | "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" => self.undoing(stack),
            "DELETE_FAILED" => self.deleting(stack).into(),
            _ => {
                let busy = Failure::new(Exit::Failed, format!("the stack {stack} is in the state {status}"));
                return Some(busy.or_hint("wait until `xf status` shows another"));
            }
        };
        let mut detail = format!("the stack {stack} is in the state {status} and cannot be updated");
        let failed = failed_resources(stack, None);
        detail.push_str(&listed(&failed));
        if let (true, Some(reason)) = (failed.is_empty(), self.0["StackStatusReason"].as_str()) {
            detail.push_str(&format!(": {reason}"));
        }
        let mut hint = advice(&detail).map_or_else(String::new, |advice| format!("{advice}.\n"));
        hint.push_str("run this, and then `xf deploy` again:");
        for command in commands {
            hint.push_str(&format!("\n  {command}"));
        }
        Some(Failure::new(Exit::Failed, detail).or_hint(hint))
    }

    /// The commands that delete the stack.
    fn deleting(&self, stack: &StackName) -> [Command; 2] {
        [
            Command::aws(["cloudformation", "delete-stack", "--stack-name", &stack.0]),
            Command::aws(["cloudformation", "wait", "stack-delete-complete", "--stack-name", self.id()]),
        ]
    }

    /// The commands that delete the stack of a failed creation and the table that it leaves, in which nothing is yet.
    fn undoing(&self, stack: &StackName) -> Vec<Command> {
        let listed = Command::aws(["cloudformation", "list-stack-resources", "--stack-name", &stack.0]).json();
        let listed = listed.unwrap_or_default();
        let resources = listed["StackResourceSummaries"].as_array().map_or(&[][..], Vec::as_slice);
        let table = resources
            .iter()
            .filter(|r| r["ResourceType"] == "AWS::DynamoDB::Table" && r["ResourceStatus"] != "DELETE_COMPLETE")
            .find_map(|r| r["PhysicalResourceId"].as_str().filter(|name| !name.is_empty()));
        let unprotect = table.map(|table| {
            Command::aws(["dynamodb", "update-table", "--table-name", table, "--no-deletion-protection-enabled"])
        });
        let delete = table.map(|table| Command::aws(["dynamodb", "delete-table", "--table-name", table]));
        // The protection first: a rollback may have failed because of it.
        unprotect.into_iter().chain(self.deleting(stack)).chain(delete).collect()
    }
}

/// The newest event of a stack, by its id. `None` when there is none.
pub(super) fn newest_event(stack: &StackName) -> Option<String> {
    events(stack).first().and_then(|event| event["EventId"].as_str()).map(ToOwned::to_owned)
}

fn events(stack: &StackName) -> Vec<Value> {
    let described = Command::aws(["cloudformation", "describe-stack-events", "--stack-name", &stack.0]);
    // Only explanations need it: without it, there is one less.
    let answer = described.and(["--max-items", "500"]).json().unwrap_or_default();
    answer["StackEvents"].as_array().cloned().unwrap_or_default()
}

/// The resources that failed in the latest operation on a stack, each with its reason, the first first. `since` is the
/// id of the newest event that is of an earlier operation.
pub(super) fn failed_resources(stack: &StackName, since: Option<&str>) -> Vec<String> {
    let mut failed = Vec::new();
    for event in events(stack) {
        let text = |field: &str| event[field].as_str().unwrap_or_default();
        if since.is_some_and(|since| since == text("EventId")) {
            break;
        }
        let (status, reason) = (text("ResourceStatus"), text("ResourceStatusReason"));
        if text("ResourceType") == "AWS::CloudFormation::Stack" {
            // Events come newest first; a stack's own says where an operation began, and never why it failed.
            if matches!(
                status,
                "CREATE_IN_PROGRESS" | "UPDATE_IN_PROGRESS" | "DELETE_IN_PROGRESS" | "IMPORT_IN_PROGRESS"
            ) {
                break;
            }
        } else if status.ends_with("_FAILED") && !reason.ends_with("cancelled") {
            failed.push(format!("{} ({}): {reason}", text("LogicalResourceId"), text("ResourceType")));
        }
    }
    failed.reverse();
    failed
}

/// As the end of a sentence, one a line.
fn listed(failed: &[String]) -> String {
    failed.iter().fold(String::new(), |text, resource| format!("{text}\n  {resource}"))
}

/// A failure of a change to a stack, with the resources that failed since an event.
pub(super) fn explained(failure: Failure, stack: &StackName, since: Option<&str>) -> Failure {
    let failed = failed_resources(stack, since);
    let mut detail = failure.detail().to_owned();
    detail.push_str(&listed(&failed));
    let explained = Failure::new(failure.exit(), detail);
    let hint = advice(explained.detail()).or(failure.hint()).map(ToOwned::to_owned);
    match hint {
        Some(hint) => explained.or_hint(hint),
        None => explained,
    }
}
