//! `xf deploy`: build, key pair, package, deploy, first API key. Every step reuses the results of earlier runs.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use xfiles_core::{
    api_key::ApiKey,
    cdn::{KeyPairId, SigningKey},
    id::ProjectId,
};

use super::{Account, Deployed, StackName, command::Command, functions, secret_name, table, trouble};
use crate::{
    failure::{Exit, Failure, os_text},
    output::Console,
    wait,
};

/// The reserved concurrency of the image worker, if the account's quota allows it. It leaves the API a share of the
/// quota during an import of images.
const WORKERS: u64 = 20;
/// The concurrency that Lambda keeps unreserved. Accounts with a lower quota cannot reserve any.
const UNRESERVED: u64 = 100;
/// The partition with CloudFront's origin access control, through which a distribution reads a private bucket.
const PARTITION: &str = "aws";

/// Deploy XFiles to AWS, or update what is deployed
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf deploy --dry-run
  xf deploy --parameter AlarmTopicArn=arn:aws:sns:…
  xf deploy --stack files-test --parameter LogDays=7
  xf deploy --first-key          # after `sam deploy`

Run it in XFiles's source directory, with cargo-lambda and the AWS CLI installed and logged in. The first run \
creates a key pair, whose private key is stored only in Secrets Manager, and prints the first API key, once. Later runs \
update the deployment.")]
pub(crate) struct DeployArgs {
    /// The CloudFormation stack
    #[arg(long, value_name = "NAME", default_value = "xfiles", value_parser = StackName::deployable)]
    stack: StackName,
    /// The template
    #[arg(long, value_name = "PATH", default_value = "infra/template.yaml")]
    template: PathBuf,
    /// A parameter of the template; may be given several times. Parameters that are not given keep their deployed
    /// values
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<String>,
    /// Deploy the functions of the last build
    #[arg(long)]
    no_build: bool,
    /// Deploy the CloudFront functions without running them in CloudFront first
    #[arg(long)]
    no_function_test: bool,
    /// Only print the commands, without credentials and without running any
    #[arg(long)]
    dry_run: bool,
    /// Deploy nothing, and only create the first project and its API key if the stack has none
    #[arg(long, conflicts_with_all = ["parameters", "no_build", "no_function_test", "dry_run", "template"])]
    first_key: bool,
    /// Print outputs and the first API key as JSON
    #[arg(long)]
    json: bool,
}

fn parameter(text: &str) -> Result<String, String> {
    let named = text
        .split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric()));
    if named { Ok(text.to_owned()) } else { Err("a parameter is NAME=VALUE".to_owned()) }
}

pub(crate) fn deploy(args: &DeployArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    if args.dry_run {
        for line in plan(args) {
            console.result(line)?;
        }
        return Ok(Exit::Ok);
    }
    if !args.first_key {
        deploy_stack(args, console)?;
    }
    let deployed = Deployed::existing(&args.stack)?;
    let (project, first_key) = wait(first_key(&deployed))?;
    tell(args, &deployed, project, first_key.as_ref(), console)?;
    Ok(Exit::Ok)
}

fn deploy_stack(args: &DeployArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    // Everything that would make the deployment fail is checked before the steps that take minutes.
    let account = Account::current()?;
    if account.partition != PARTITION {
        let detail = format!(
            "the account is in the partition {}, where CloudFront has no origin access control",
            account.partition
        );
        return Err(Failure::new(Exit::Failed, detail).or_hint("deploy to an account of the partition aws"));
    }
    let earlier = Deployed::updatable(&args.stack)?;
    let mut parameters = args.parameters.clone();
    keep_public_keys(&mut parameters, earlier.as_ref())?;
    reserve_workers(&mut parameters, earlier.as_ref(), console)?;
    if !args.no_build {
        console.note("building the functions");
        build().watched()?;
    }
    let bucket = artifacts(&account, console)?;
    if earlier.is_none() {
        let signing = signing_key(&args.stack, console)?;
        parameters.splice(
            0..0,
            [format!("SigningKeySecretArn={}", signing.secret), format!("PublicKeyA={}", signing.public_key)],
        );
    }
    let folder = tempfile::tempdir().map_err(|error| {
        Failure::new(Exit::Unavailable, format!("cannot create a temporary directory: {}", os_text(&error)))
    })?;
    let path = folder.path().join("packaged.json");
    let packaged = path.to_string_lossy();
    console.note("uploading the functions");
    package(args, &bucket, &packaged).text()?;
    if !args.no_function_test {
        console.note("running the CloudFront functions in CloudFront");
        functions::test(&args.stack, &template(&path)?, console)?;
    }
    console.note("deploying; the first time takes some minutes, most of them CloudFront's");
    let before = trouble::newest_event(&args.stack);
    change(args, &bucket, &packaged, &parameters)
        .watched()
        .map_err(|failure| trouble::explained(failure, &args.stack, before.as_deref()))
}

/// The packaged template.
fn template(path: &std::path::Path) -> Result<Value, Failure> {
    let read = fs::read(path).map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot read the packaged template: {}", os_text(&error)))
    })?;
    serde_json::from_slice(&read).map_err(|_| Failure::new(Exit::Failed, "the packaged template is not JSON"))
}

/// The value of a given parameter; like CloudFormation, the last one.
fn given<'a>(parameters: &'a [String], name: &str) -> Option<&'a str> {
    parameters.iter().rev().find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='))
}

/// Removes public keys from the parameters that are already deployed, whatever their line ending, and refuses a
/// different key in their place, because CloudFront cannot change a key in place.
fn keep_public_keys(parameters: &mut Vec<String>, earlier: Option<&Deployed>) -> Result<(), Failure> {
    for name in ["PublicKeyA", "PublicKeyB"] {
        let deployed = earlier.and_then(|earlier| earlier.parameter(name)).unwrap_or_default().trim_end();
        let Some(key) = given(parameters, name).map(str::trim_end) else { continue };
        if deployed.is_empty() || key.is_empty() {
            continue;
        }
        if key != deployed {
            let detail = format!("{name} is deployed with another key, and CloudFront cannot change a key in place");
            return Err(Failure::new(Exit::Usage, detail)
                .or_hint("give the new key as the other parameter (docs/deploy.md, \"Rotating the signing key\")"));
        }
        parameters.retain(|parameter| parameter.split_once('=').is_none_or(|(given, _)| given != name));
    }
    Ok(())
}

/// Sets the reserved concurrency of the image worker if it was never set: `WORKERS` if the account's quota allows it,
/// and 0 otherwise, which is always possible.
fn reserve_workers(
    parameters: &mut Vec<String>,
    earlier: Option<&Deployed>,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    const NAME: &str = "WorkerConcurrency";
    let asked = given(parameters, NAME).map(ToOwned::to_owned);
    if asked.is_none() && earlier.is_some() {
        return Ok(());
    }
    let settings = Command::aws(["lambda", "get-account-settings"]).json().unwrap_or_default();
    let limits = &settings["AccountLimit"];
    let known = limits["UnreservedConcurrentExecutions"].as_u64().zip(limits["ConcurrentExecutions"].as_u64());
    // The stack's own reservation is available to it.
    let held = earlier.and_then(|earlier| earlier.parameter(NAME)?.parse::<u64>().ok()).unwrap_or(0);
    let room = known.map(|(unreserved, _)| (unreserved + held).saturating_sub(UNRESERVED));
    match (asked, known.zip(room)) {
        // If the value is not a number, CloudFormation reports it.
        (Some(asked), Some(((unreserved, quota), room))) if asked.parse::<u64>().is_ok_and(|asked| asked > room) => {
            let detail = format!(
                "{NAME}={asked} is more than this account can reserve: of its quota of {quota} concurrent executions \
                 {unreserved} are unreserved, and {UNRESERVED} must stay so, which leaves {room}"
            );
            Err(Failure::new(Exit::Usage, detail).or_hint(
                "give less, 0 to reserve nothing, or request an increase of Lambda's quota \"Concurrent executions\"",
            ))
        }
        (Some(_), _) => Ok(()),
        (None, Some((_, room))) if room >= WORKERS => {
            parameters.push(format!("{NAME}={WORKERS}"));
            Ok(())
        }
        (None, known) => {
            let why = known.map_or_else(
                || "the account's Lambda quota cannot be read".to_owned(),
                |((_, quota), _)| format!("the account's Lambda quota of {quota} does not allow {WORKERS}"),
            );
            console.note(format_args!(
                "{why}: {NAME}=0, so nothing is reserved for the image worker, and it shares the quota with the API"
            ));
            parameters.push(format!("{NAME}=0"));
            Ok(())
        }
    }
}

fn tell(
    args: &DeployArgs,
    deployed: &Deployed,
    project: ProjectId,
    first_key: Option<&ApiKey>,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    if args.json {
        let outputs: serde_json::Map<_, _> = deployed.outputs().map(|(k, v)| (k.to_owned(), v.into())).collect();
        return console.json(&json!({
            "outputs": outputs, "projectId": project, "apiKey": first_key.map(ApiKey::reveal),
        }));
    }
    for (name, value) in deployed.outputs() {
        console.result(format_args!("{name:24}{value}"))?;
    }
    match first_key {
        Some(key) => {
            console.result(format_args!("\nThe first API key, which is shown only now:\n\n{}", key.reveal()))?;
        }
        None => console.note("API keys exist already; `xf keys create` creates another"),
    }
    let url = deployed.output("ApiUrl")?;
    console.note(format_args!("try it: XFILES_API_KEY=… xf doctor --url {url}"));
    Ok(())
}

/// The commands that would be run, with placeholders in angle brackets for values that are not known yet.
fn plan(args: &DeployArgs) -> Vec<String> {
    let bucket = format!("{}-<random>", artifacts_prefix("<account>", "<region>"));
    let mut parameters = vec!["SigningKeySecretArn=<secret>".to_owned(), "PublicKeyA=<public key>".to_owned()];
    if given(&args.parameters, "WorkerConcurrency").is_none() {
        parameters.push(format!("WorkerConcurrency=<0 or {WORKERS}>"));
    }
    parameters.extend(args.parameters.iter().cloned());
    let mut lines = vec![
        "# 1. Whether the stack can be deployed as it is, and how much concurrency its account can reserve.".to_owned(),
        Command::aws(["cloudformation", "describe-stacks", "--stack-name", &args.stack.0]).to_string(),
        "aws lambda get-account-settings".to_owned(),
    ];
    if !args.no_build {
        lines.push("# 2. Build the functions for arm64.".to_owned());
        lines.push(build().to_string());
    }
    lines.extend([
        "# 3. A bucket for the functions' code, unless this account has one.".to_owned(),
        make_bucket(&bucket).to_string(),
        "# 4. At the first deployment, unless the secret exists: a P-256 key pair, created here; its private key is passed"
            .to_owned(),
        "#    by standard input.".to_owned(),
        make_secret(&args.stack).to_string(),
        "# 5. Upload the functions.".to_owned(),
        package(args, &bucket, "<packaged>").to_string(),
    ]);
    if !args.no_function_test {
        lines.push("# 6. Run each CloudFront function in CloudFront, under a name of its own.".to_owned());
        for operation in ["create-function", "test-function", "delete-function"] {
            lines.push(format!("aws cloudfront {operation} --name '{}-xf-test-<event>'", args.stack));
        }
    }
    lines.extend([
        "# 7. Deploy. The keys are given at the first deployment only.".to_owned(),
        change(args, &bucket, "<packaged>", &parameters).to_string(),
        "# 8. Unless there is one: a project, and an API key that is printed once.".to_owned(),
        "aws dynamodb put-item --cli-input-json 'file://<item>'".to_owned(),
    ]);
    lines
}

fn build() -> Command {
    Command::new(["cargo", "lambda", "build", "--locked", "--profile", "function", "--arm64", "--features", "lambda"])
        .and([
            "--package",
            "xfiles-control-api",
            "--package",
            "xfiles-edge-variants",
            "--package",
            "xfiles-cleanup-cron",
        ])
        // Where the template looks for them, wherever CARGO_TARGET_DIR says that cargo builds.
        .and(["--lambda-dir", "target/lambda"])
}

/// The prefix of the names of buckets for the functions' code.
fn artifacts_prefix(account: &str, region: &str) -> String {
    format!("xfiles-deploy-{account}-{region}")
}

fn make_bucket(bucket: &str) -> Command {
    Command::aws(["s3", "mb", &format!("s3://{bucket}")])
}

/// The bucket for the functions' code, created if it does not exist. The owner of the bucket controls the deployed
/// code, and anyone can claim a guessable name. The bucket is therefore one that this account lists as its own, and a
/// new one gets an unguessable name.
fn artifacts(account: &Account, console: &mut Console<'_>) -> Result<String, Failure> {
    // The region that the AWS CLI uses: that of the environment, then that of the profile.
    let zones = Command::aws(["ec2", "describe-availability-zones", "--query", "AvailabilityZones[0].RegionName"]);
    let region = zones.json()?;
    let prefix = artifacts_prefix(&account.id, region.as_str().unwrap_or_default());
    let own = Command::aws(["s3api", "list-buckets"]).json()?;
    let own = own["Buckets"].as_array().map_or(&[][..], Vec::as_slice);
    let found = own.iter().filter_map(|bucket| bucket["Name"].as_str()).find(|name| {
        // Excludes other regions whose name begins with this one's.
        name.strip_prefix(&prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    });
    let bucket = match found {
        Some(bucket) => bucket.to_owned(),
        None => {
            // An identifier has only characters that are valid in a bucket name, and 62 random bits.
            let bucket = format!("{prefix}-{}", ProjectId::mint());
            console.note(format_args!("creating the bucket {bucket}"));
            make_bucket(&bucket).text()?;
            bucket
        }
    };
    Command::aws(["s3api", "head-bucket", "--bucket", &bucket, "--expected-bucket-owner", &account.id])
        .text()
        .map_err(|failure| {
            failure.or_hint(format!("the bucket {bucket} must belong to this account and be readable"))
        })?;
    Ok(bucket)
}

/// The key pair of private URLs, as far as the template needs it.
struct Signing {
    secret: String,
    public_key: String,
}

fn make_secret(stack: &StackName) -> Command {
    Command::aws(["secretsmanager", "create-secret", "--name", &secret_name(stack)]).and([
        "--description",
        "Signs the private URLs of XFiles",
        "--secret-string",
        "file:///dev/stdin",
    ])
}

/// The key in the secret, created if it does not exist.
fn signing_key(stack: &StackName, console: &mut Console<'_>) -> Result<Signing, Failure> {
    // The public key does not depend on the id, which CloudFront assigns later.
    let id: KeyPairId = "unnamed".parse().expect("an id");
    let name = secret_name(stack);
    match Command::aws(["secretsmanager", "get-secret-value", "--secret-id", &name]).json() {
        Ok(secret) => {
            let pem = secret["SecretString"].as_str().unwrap_or_default();
            let key = SigningKey::from_pem(id, pem)
                .map_err(|error| Failure::new(Exit::Failed, format!("the secret {name}: {error}")))?;
            Ok(Signing { secret: arn(&secret), public_key: key.public_key_pem() })
        }
        Err(failure) if failure.detail().contains("ResourceNotFoundException") => {
            console.note(format_args!("creating the key pair; its private key is stored in the secret {name}"));
            let (key, pem) = SigningKey::generate_p256(id);
            let made = make_secret(stack).input(pem.reveal()).json()?;
            Ok(Signing { secret: arn(&made), public_key: key.public_key_pem() })
        }
        // `xf destroy` deletes it at once. A manual deletion first marks it and reserves its name.
        Err(failure) if failure.detail().contains("marked for deletion") => {
            console.note(format_args!("the secret {name} was scheduled for deletion; it has been restored"));
            Command::aws(["secretsmanager", "restore-secret", "--secret-id", &name]).text()?;
            signing_key(stack, console)
        }
        Err(failure) => Err(failure),
    }
}

fn arn(secret: &serde_json::Value) -> String {
    secret["ARN"].as_str().unwrap_or_default().to_owned()
}

fn package(args: &DeployArgs, bucket: &str, packaged: &str) -> Command {
    let template = args.template.to_string_lossy();
    Command::aws(["cloudformation", "package", "--template-file", &template, "--s3-bucket", bucket]).and([
        "--output-template-file",
        packaged,
        "--use-json",
    ])
}

fn change(args: &DeployArgs, bucket: &str, packaged: &str, parameters: &[String]) -> Command {
    let command =
        Command::aws(["cloudformation", "deploy", "--template-file", packaged, "--stack-name", &args.stack.0])
            .and(["--s3-bucket", bucket, "--no-fail-on-empty-changeset"])
            .and(["--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]);
    if parameters.is_empty() { command } else { command.and(["--parameter-overrides"]).and(parameters) }
}

/// The first project, and its key if this created one.
async fn first_key(deployed: &Deployed) -> Result<(ProjectId, Option<ApiKey>), Failure> {
    let quota = deployed.output("DefaultQuotaBytes")?;
    let quota =
        quota.parse().map_err(|_| Failure::new(Exit::Failed, "the output DefaultQuotaBytes is not a number"))?;
    let (project, key) = table::projects(deployed.output("TableName")?).first(quota).await?;
    Ok((project, key.map(|issued| issued.key)))
}
