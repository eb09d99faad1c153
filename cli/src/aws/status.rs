//! `xf status`: the outputs of a deployment.

use serde_json::json;

use super::{Deployed, StackName};
use crate::{
    failure::{Exit, Failure},
    output::Console,
};

/// Show the state and the addresses of a deployment on AWS
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf status
  xf status --stack files-test --json | jq -r .outputs.ApiUrl

`xf doctor` tries whether it works.")]
pub(crate) struct StatusArgs {
    /// The CloudFormation stack
    #[arg(long, value_name = "NAME", default_value = "xfiles")]
    stack: StackName,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn status(args: &StatusArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let deployed = Deployed::existing(&args.stack)?;
    if args.json {
        let outputs: serde_json::Map<_, _> = deployed.outputs().map(|(k, v)| (k.to_owned(), v.into())).collect();
        console.json(&json!({"stack": args.stack.0, "status": deployed.status(), "outputs": outputs}))?;
    } else {
        console.result(format_args!("{:24}{}", args.stack, deployed.status()))?;
        for (name, value) in deployed.outputs() {
            console.result(format_args!("{name:24}{value}"))?;
        }
    }
    if let Some(failure) = deployed.trouble(&args.stack) {
        return Err(failure);
    }
    // After a rolled-back update the previous deployment is in place.
    Ok(if deployed.status().contains("ROLLBACK") { Exit::Failed } else { Exit::Ok })
}
