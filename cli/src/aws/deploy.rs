//! `xf deploy`: build, key pair, package, deploy, first API key. Every step finds what an earlier run has made.

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

/// How many images are made at once where the account has room: an import of pictures then leaves the API its share.
const WORKERS: u64 = 20;
/// How much concurrency Lambda keeps unreserved. Accounts whose quota is lower may reserve nothing.
const UNRESERVED: u64 = 100;
/// The partition with CloudFront's origin access control, by which a distribution reads a private bucket.
const PARTITION: &str = "aws";

/// Deploy XFiles to AWS, or update what is deployed
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf deploy --dry-run
  xf deploy --parameter AlarmTopicArn=arn:aws:sns:…
  xf deploy --stack files-test --parameter LogDays=7
  xf deploy --first-key          # after `sam deploy`

Run it in XFiles's source directory, with cargo-lambda and the AWS CLI installed and logged in. The first run makes a \
key pair, whose private key goes into Secrets Manager and nowhere else, and prints the first API key, once. Later runs \
change what has changed.")]
pub(crate) struct DeployArgs {
    /// The CloudFormation stack
    #[arg(long, value_name = "NAME", default_value = "xfiles", value_parser = StackName::deployable)]
    stack: StackName,
    /// The template
    #[arg(long, value_name = "PATH", default_value = "infra/template.yaml")]
    template: PathBuf,
    /// A parameter of the template; may be given several times. Without it, what was deployed stays
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<String>,
    /// Deploy the functions that were built before
    #[arg(long)]
    no_build: bool,
    /// Deploy the CloudFront functions without running them in CloudFront first
    #[arg(long)]
    no_function_test: bool,
    /// Only print the commands, without credentials and without running any
    #[arg(long)]
    dry_run: bool,
    /// Deploy nothing, and only make the project and the API key that a stack begins with, if it has none
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
    // What would make the deployment fail comes before what takes minutes.
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
        Failure::new(Exit::Unavailable, format!("cannot make a temporary folder: {}", os_text(&error)))
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

/// The value of a parameter that was given, the last one as CloudFormation takes it.
fn given<'a>(parameters: &'a [String], name: &str) -> Option<&'a str> {
    parameters.iter().rev().find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='))
}

/// Leaves out public keys that are deployed already, however their last line ends, and refuses others in their place:
/// CloudFront changes no key in place.
fn keep_public_keys(parameters: &mut Vec<String>, earlier: Option<&Deployed>) -> Result<(), Failure> {
    for name in ["PublicKeyA", "PublicKeyB"] {
        let deployed = earlier.and_then(|earlier| earlier.parameter(name)).unwrap_or_default().trim_end();
        let Some(key) = given(parameters, name).map(str::trim_end) else { continue };
        if deployed.is_empty() || key.is_empty() {
            continue;
        }
        if key != deployed {
            let detail = format!("{name} is deployed with another key, and CloudFront changes no key in place");
            return Err(Failure::new(Exit::Usage, detail)
                .or_hint("give the new key as the other parameter (docs/deploy.md, \"Rotating the signing key\")"));
        }
        parameters.retain(|parameter| parameter.split_once('=').is_none_or(|(given, _)| given != name));
    }
    Ok(())
}

/// Sets how many images are made at once, where nobody has: as many as are sensible if the account's quota has room for
/// them, and no reservation otherwise, which every account can have.
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
    // What the stack itself holds is free for it.
    let held = earlier.and_then(|earlier| earlier.parameter(NAME)?.parse::<u64>().ok()).unwrap_or(0);
    let room = known.map(|(unreserved, _)| (unreserved + held).saturating_sub(UNRESERVED));
    match (asked, known.zip(room)) {
        // CloudFormation says what is wrong with what is no number.
        (Some(asked), Some(((unreserved, quota), room))) if asked.parse::<u64>().is_ok_and(|asked| asked > room) => {
            let detail = format!(
                "{NAME}={asked} is more than this account can reserve: of its quota of {quota} concurrent executions \
                 {unreserved} are unreserved, and {UNRESERVED} must stay so, which leaves {room}"
            );
            Err(Failure::new(Exit::Usage, detail)
                .or_hint("give less, 0 to reserve nothing, or have Lambda's quota \"Concurrent executions\" raised"))
        }
        (Some(_), _) => Ok(()),
        (None, Some((_, room))) if room >= WORKERS => {
            parameters.push(format!("{NAME}={WORKERS}"));
            Ok(())
        }
        (None, known) => {
            let why = known.map_or_else(
                || "the account's Lambda quota cannot be read".to_owned(),
                |((_, quota), _)| format!("the account's Lambda quota of {quota} has no room for {WORKERS}"),
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
        None => console.note("there are API keys already; `xf keys create` makes another"),
    }
    let url = deployed.output("ApiUrl")?;
    console.note(format_args!("try it: XFILES_API_KEY=… xf doctor --url {url}"));
    Ok(())
}

/// What would be run, with what is only known then in angle brackets.
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
        "# 3. A bucket for what CloudFormation takes the functions from, unless this account has one.".to_owned(),
        make_bucket(&bucket).to_string(),
        "# 4. At the first deployment, unless the secret is there: a P-256 key pair, made here; its private key goes in"
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

/// What the names of buckets for the functions' code begin with.
fn artifacts_prefix(account: &str, region: &str) -> String {
    format!("xfiles-deploy-{account}-{region}")
}

fn make_bucket(bucket: &str) -> Command {
    Command::aws(["s3", "mb", &format!("s3://{bucket}")])
}

/// The bucket for the functions' code, made if it is not there. Whoever owns it chooses what CloudFormation deploys, and
/// anybody can take a name that can be guessed: it is one that this account lists as its own, and a new one has a name
/// that nobody guesses.
fn artifacts(account: &Account, console: &mut Console<'_>) -> Result<String, Failure> {
    // What the AWS CLI takes for the region: its environment first, then its profile.
    let zones = Command::aws(["ec2", "describe-availability-zones", "--query", "AvailabilityZones[0].RegionName"]);
    let region = zones.json()?;
    let prefix = artifacts_prefix(&account.id, region.as_str().unwrap_or_default());
    let own = Command::aws(["s3api", "list-buckets"]).json()?;
    let own = own["Buckets"].as_array().map_or(&[][..], Vec::as_slice);
    let found = own.iter().filter_map(|bucket| bucket["Name"].as_str()).find(|name| {
        // Not another region's, whose name may begin with this one's.
        name.strip_prefix(&prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    });
    let bucket = match found {
        Some(bucket) => bucket.to_owned(),
        None => {
            // An identifier has the letters and digits that a bucket's name may have, and 62 random bits.
            let bucket = format!("{prefix}-{}", ProjectId::mint());
            console.note(format_args!("making the bucket {bucket}"));
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

/// The key pair of private URLs, as far as the template is told.
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

/// The key in the secret, made if it is not there.
fn signing_key(stack: &StackName, console: &mut Console<'_>) -> Result<Signing, Failure> {
    // The public key does not depend on the id, which CloudFront gives later.
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
            console.note(format_args!("making the key pair; its private key goes into the secret {name}"));
            let (key, pem) = SigningKey::generate_p256(id);
            let made = make_secret(stack).input(pem.reveal()).json()?;
            Ok(Signing { secret: arn(&made), public_key: key.public_key_pem() })
        }
        // `xf destroy` deletes it at once; by hand it is marked first, and keeps its name meanwhile.
        Err(failure) if failure.detail().contains("marked for deletion") => {
            console.note(format_args!("the secret {name} was about to be deleted; it is kept"));
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

/// The first project, and its key if there was none.
async fn first_key(deployed: &Deployed) -> Result<(ProjectId, Option<ApiKey>), Failure> {
    let quota = deployed.output("DefaultQuotaBytes")?;
    let quota = quota.parse().map_err(|_| Failure::new(Exit::Failed, "the output DefaultQuotaBytes is no number"))?;
    let (project, key) = table::projects(deployed.output("TableName")?).first(quota).await?;
    Ok((project, key.map(|issued| issued.key)))
}
