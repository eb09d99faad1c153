//! `xf webhooks`: where a project's events are sent, and what became of them.

use clap::{Subcommand, builder::PossibleValuesParser};
use xfiles_api_types::{
    projects::Project,
    webhooks::{Delivery, NewWebhook, Webhook, WebhookChange},
    words::{DeliveryId, PublicUrl},
};
use xfiles_core::{
    clock::{Clock, Timestamp},
    event::EventType,
    id::EndpointId,
    webhook::{Reach, TargetUrl},
};

use crate::{
    args::{NOTHING_DELETED, ServerArgs},
    client::Client,
    failure::{Exit, Failure},
    output::{Console, Table, printable_line, table},
    projects::find,
    retry::with_retries,
    units::{Span, age},
};

/// Make, list, change and delete webhooks, and replay what they did not take; with a key that has the scope admin
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf webhooks create https://app.example.com/hooks/files
  xf webhooks list
  xf webhooks deliveries w3x9q2m7ab1c --status parked
  xf webhooks replay w3x9q2m7ab1c

`xf webhooks ls` is `xf webhooks list`. A webhook checks the signature of what it gets with its secret.")]
pub(crate) struct WebhooksArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    #[command(alias = "ls")]
    List(List),
    Create(Create),
    Update(Update),
    #[command(alias = "rm")]
    Delete(Delete),
    Rotate(Rotate),
    Deliveries(Deliveries),
    Replay(Replay),
}

/// Which project, and how the answer is printed.
#[derive(clap::Args)]
struct Common {
    /// The project, by id or name [default: the only one]
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

impl Common {
    fn project(&self) -> Result<(Client, Project), Failure> {
        let client = Client::new(&self.server)?;
        let project = find(&client, self.project.as_deref())?;
        Ok((client, project))
    }
}

/// List the webhooks of a project
#[derive(clap::Args)]
struct List {
    #[command(flatten)]
    common: Common,
}

/// Make a webhook and print its secret, this once
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xf webhooks create https://app.example.com/hooks/files
  xf webhooks create https://app.example.com/hooks/files --event file.confirmed,file.deleted")]
struct Create {
    /// Where events are sent
    #[arg(value_name = "WEBHOOK_URL")]
    to: String,
    /// Which events are sent [default: all]
    #[arg(long = "event", value_name = "EVENT", value_delimiter = ',', value_parser = event())]
    events: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// Change where or which events are sent, or switch a webhook off and on
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
struct Update {
    /// The webhook's id
    #[arg(value_name = "WEBHOOK_ID")]
    id: EndpointId,
    /// Where events are sent from now on
    #[arg(long, group = "change", value_name = "WEBHOOK_URL")]
    to: Option<String>,
    /// Which events are sent from now on
    #[arg(long = "event", group = "change", value_name = "EVENT", value_delimiter = ',', value_parser = event())]
    events: Vec<String>,
    /// Send all events
    #[arg(long, group = "change", conflicts_with = "events")]
    all_events: bool,
    /// Send events again
    #[arg(long, group = "change")]
    enable: bool,
    /// Send no events until it is enabled again
    #[arg(long, group = "change", conflicts_with = "enable")]
    disable: bool,
    #[command(flatten)]
    common: Common,
}

/// Delete a webhook with its deliveries, after a question
#[derive(clap::Args)]
struct Delete {
    /// The webhook's id
    #[arg(value_name = "WEBHOOK_ID")]
    id: EndpointId,
    /// Do not ask; needed where there is no terminal
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

/// Give a webhook a new secret and print it, this once; messages carry both signatures for a while
#[derive(clap::Args)]
struct Rotate {
    /// The webhook's id
    #[arg(value_name = "WEBHOOK_ID")]
    id: EndpointId,
    /// How long messages carry the old secret's signature as well; at most 30d
    #[arg(long, value_name = "SPAN", default_value = "24h")]
    grace: Span,
    #[command(flatten)]
    common: Common,
}

/// List what was sent to a webhook, newest first
#[derive(clap::Args)]
struct Deliveries {
    /// The webhook's id
    #[arg(value_name = "WEBHOOK_ID")]
    id: EndpointId,
    /// Only those in this state
    #[arg(long, value_name = "STATE", value_parser = ["pending", "delivered", "parked"])]
    status: Option<String>,
    /// All of them, instead of the newest page
    #[arg(long, conflicts_with = "json")]
    all: bool,
    #[command(flatten)]
    common: Common,
}

/// Try deliveries again that were given up
#[derive(clap::Args)]
struct Replay {
    /// The webhook's id
    #[arg(value_name = "WEBHOOK_ID")]
    id: EndpointId,
    /// One delivery, by its id [default: all that are parked]
    #[arg(long, value_name = "DELIVERY_ID")]
    delivery: Option<String>,
    #[command(flatten)]
    common: Common,
}

fn event() -> PossibleValuesParser {
    PossibleValuesParser::new(EventType::ALL.map(EventType::as_str))
}

pub(crate) fn run(args: &WebhooksArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    match &args.action {
        Action::List(args) => list(args, console),
        Action::Create(args) => create(args, console),
        Action::Update(args) => update(args, console),
        Action::Delete(args) => delete(args, console),
        Action::Rotate(args) => rotate(args, console),
        Action::Deliveries(args) => deliveries(args, console),
        Action::Replay(args) => replay(args, console),
    }
}

fn list(args: &List, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let (client, project) = args.common.project()?;
    let answer = with_retries(|| client.webhooks(project.id))?;
    if args.common.json {
        console.json(&answer.raw)?;
        return Ok(Exit::Ok);
    }
    let now = Clock::system().now();
    let rows: Vec<_> = answer.value.webhooks.0.iter().map(|webhook| row(webhook, now)).collect();
    if rows.is_empty() {
        console.note("no webhooks");
    } else {
        console.result(table(["ID", "CREATED", "STATE", "EVENTS", "URL"], &rows))?;
    }
    Ok(Exit::Ok)
}

fn create(args: &Create, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let (client, project) = args.common.project()?;
    let new = NewWebhook { url: address(&args.to)?, events: events(&args.events), enabled: true };
    let answer = client.create_webhook(project.id, &new)?;
    if args.common.json {
        console.json(&answer.raw)?;
    } else {
        console.note(format_args!("webhook {}; its secret, shown this once:", answer.value.webhook.id));
        console.result(printable_line(answer.value.secret.as_str()))?;
    }
    Ok(Exit::Ok)
}

fn update(args: &Update, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let (client, project) = args.common.project()?;
    let change = WebhookChange {
        url: args.to.as_deref().map(address).transpose()?,
        events: (args.all_events || !args.events.is_empty()).then(|| events(&args.events)),
        enabled: (args.enable || args.disable).then_some(args.enable),
    };
    let answer = with_retries(|| client.change_webhook(project.id, args.id, &change))?;
    if args.common.json {
        console.json(&answer.raw)?;
    } else {
        let cells = row(&answer.value.webhook, Clock::system().now());
        console.result(table(["ID", "CREATED", "STATE", "EVENTS", "URL"], &[cells]))?;
    }
    Ok(Exit::Ok)
}

fn delete(args: &Delete, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let (client, project) = args.common.project()?;
    console.agree(args.yes, &format!("Delete webhook {} with its deliveries, for good?", args.id), NOTHING_DELETED)?;
    let answer = client.delete_webhook(project.id, args.id)?;
    if args.common.json {
        console.json(&answer.raw)?;
    } else {
        console.result(format_args!("deleted {}", args.id))?;
    }
    Ok(Exit::Ok)
}

fn rotate(args: &Rotate, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let (client, project) = args.common.project()?;
    let Span(grace) = args.grace;
    let answer = client.rotate_webhook(project.id, args.id, grace)?;
    if args.common.json {
        console.json(&answer.raw)?;
    } else {
        let until = Clock::system().now() + grace;
        console
            .note(format_args!("messages carry the old signature as well until {until}; the secret, shown this once:"));
        console.result(printable_line(answer.value.secret.as_str()))?;
    }
    Ok(Exit::Ok)
}

fn deliveries(args: &Deliveries, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let (client, project) = args.common.project()?;
    let status = args.status.iter().map(|status| ("status", status.clone())).collect::<Vec<_>>();
    let now = Clock::system().now();
    let (mut table, mut count) = (Table::new(["ID", "SENT", "STATE", "TRIES", "EVENT", "LAST ANSWER"]), 0);
    let mut cursor: Option<String> = None;
    loop {
        let mut query = status.clone();
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page = with_retries(|| client.deliveries(project.id, args.id, &query))?;
        if args.common.json {
            console.json(&page.raw)?;
            return Ok(Exit::Ok);
        }
        let rows: Vec<_> = page.value.deliveries.0.iter().map(|delivery| delivery_row(delivery, now)).collect();
        if !rows.is_empty() {
            console.result(table.lines(&rows))?;
        }
        count += rows.len();
        cursor = page.value.next_cursor.0;
        if cursor.is_none() {
            break;
        }
        if !args.all {
            console.note("there are more; --all shows them");
            break;
        }
    }
    if count == 0 {
        console.note("no deliveries");
    }
    Ok(Exit::Ok)
}

fn replay(args: &Replay, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let (client, project) = args.common.project()?;
    let delivery = match &args.delivery {
        Some(text) => Some(DeliveryId::new(text).ok_or_else(|| Failure::new(Exit::Usage, "no id of a delivery"))?),
        None => None,
    };
    let mut replayed = 0;
    loop {
        let answer = with_retries(|| client.replay(project.id, args.id, delivery.as_ref()))?;
        replayed += answer.value.replayed;
        // A page that replays nothing would come again for ever.
        if !answer.value.more || answer.value.replayed == 0 {
            break;
        }
    }
    if args.common.json {
        console.json(&serde_json::json!({"replayed": replayed}))?;
    } else {
        let deliveries = if replayed == 1 { "1 delivery".to_owned() } else { format!("{replayed} deliveries") };
        console.result(format_args!("{deliveries} will be tried again"))?;
    }
    Ok(Exit::Ok)
}

/// The URL of a webhook; which hosts may be called is for the server to say.
fn address(text: &str) -> Result<PublicUrl, Failure> {
    let url = TargetUrl::parse(text, Reach::Anywhere).map(PublicUrl);
    url.ok_or_else(|| {
        Failure::new(Exit::Usage, "the URL of a webhook must be http or https, without user and fragment")
    })
}

/// The events that the command line names; the argument parser has checked the names.
fn events(names: &[String]) -> Vec<EventType> {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

fn row(webhook: &Webhook, now: Timestamp) -> [String; 5] {
    let events: Vec<&str> = webhook.events.0.iter().map(|event| event.as_str()).collect();
    let events = if events.is_empty() { "all".to_owned() } else { events.join(",") };
    [
        webhook.id.to_string(),
        age(webhook.created_at, now),
        if webhook.enabled { "on" } else { "off" }.to_owned(),
        printable_line(&events),
        printable_line(webhook.url.as_str()),
    ]
}

fn delivery_row(delivery: &Delivery, now: Timestamp) -> [String; 6] {
    let answer = match (delivery.last_status.0, &delivery.last_error.0) {
        (Some(status), _) => status.to_string(),
        (None, Some(error)) => printable_line(error),
        (None, None) => String::new(),
    };
    [
        printable_line(delivery.id.as_str()),
        age(delivery.created_at, now),
        printable_line(delivery.status.as_str()),
        delivery.attempts.to_string(),
        printable_line(delivery.kind.as_str()),
        answer,
    ]
}
