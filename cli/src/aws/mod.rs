//! Deployments on AWS: `xf deploy`, `xf status`, `xf destroy`. They run the AWS CLI, so that every login that works for
//! it works here, every step can be run by hand, and `xf` links no additional SDKs.

mod command;
mod deploy;
mod destroy;
mod functions;
mod removal;
mod status;
mod table;
mod trouble;

use serde_json::Value;

use self::command::Command;
pub(crate) use self::{
    deploy::{DeployArgs, deploy},
    destroy::{DestroyArgs, destroy},
    status::{StatusArgs, status},
};
use crate::failure::{Exit, Failure};

/// The name of a stack that CloudFormation accepts and from which secret names can be derived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StackName(String);

impl StackName {
    /// The longest name that can be deployed, in characters: CloudFront allows 64 for the name of a function, and the
    /// template appends `-viewer-response-` and eight characters of the stack's id.
    const LONGEST: usize = 39;

    /// Parses the name of a stack that may have to be created.
    fn deployable(text: &str) -> Result<Self, String> {
        let name: Self = text.parse()?;
        if name.0.len() <= Self::LONGEST {
            Ok(name)
        } else {
            Err(format!(
                "the name has {} characters and may have at most {}: CloudFront functions are named after the stack, with at most \
                 64 characters",
                name.0.len(),
                Self::LONGEST
            ))
        }
    }
}

impl std::str::FromStr for StackName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = text.len() <= 100
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err("a stack's name is a letter and up to 99 letters, digits and hyphens".to_owned())
        }
    }
}

impl std::fmt::Display for StackName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

struct Account {
    id: String,
    partition: String,
}

impl Account {
    fn current() -> Result<Self, Failure> {
        let identity = Command::aws(["sts", "get-caller-identity"]).json()?;
        let text = |field: &str| identity[field].as_str().unwrap_or_default();
        // arn:PARTITION:sts::…
        let partition = text("Arn").split(':').nth(1).unwrap_or_default().to_owned();
        Ok(Self { id: text("Account").to_owned(), partition })
    }
}

/// The secret in which `xf deploy` stores the private key of a stack.
fn secret_name(stack: &StackName) -> String {
    format!("xfiles/{stack}/signing-key")
}

/// A stack as CloudFormation describes it.
struct Deployed(Value);

impl Deployed {
    /// Reads the stack; `None` if it does not exist.
    fn read(stack: &StackName) -> Result<Option<Self>, Failure> {
        let described = Command::aws(["cloudformation", "describe-stacks", "--stack-name", &stack.0]).json();
        match described {
            Ok(answer) => Ok(Some(Self(answer["Stacks"][0].clone()))),
            Err(failure) if failure.detail().contains("does not exist") => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Reads a stack that must exist.
    fn existing(stack: &StackName) -> Result<Self, Failure> {
        Self::read(stack)?.ok_or_else(|| {
            Failure::new(Exit::NotFound, format!("there is no stack {stack}")).or_hint("`xf deploy` creates it")
        })
    }

    fn id(&self) -> &str {
        self.0["StackId"].as_str().unwrap_or_default()
    }

    fn status(&self) -> &str {
        self.0["StackStatus"].as_str().unwrap_or_default()
    }

    /// The names and values of the outputs, in the template's order.
    fn outputs(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.0["Outputs"], "OutputKey", "OutputValue")
    }

    fn output(&self, name: &str) -> Result<&str, Failure> {
        let found = self.outputs().find(|(key, _)| *key == name).map(|(_, value)| value);
        found.ok_or_else(|| Failure::new(Exit::Failed, format!("the stack has no output {name}")))
    }

    /// The deployed value of a parameter.
    fn parameter(&self, name: &str) -> Option<&str> {
        pairs(&self.0["Parameters"], "ParameterKey", "ParameterValue")
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }
}

fn pairs<'a>(list: &'a Value, key: &'a str, value: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    list.iter().filter_map(move |item| Some((item[key].as_str()?, item[value].as_str()?)))
}
